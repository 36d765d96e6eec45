"""Events that intake reacts to."""

from services.intake import usecases
from shared.events.monitoring import AdverseEventReported, SessionCompleted
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip


async def on_session_completed(context: EventContext, event: SessionCompleted) -> Outcome:
    if event.plan_id is None or event.sequence_no is None:
        return Skip("not_of_a_plan")
    return Done() if await usecases.count_session(context.unit, event) else Skip("nothing_to_count")


async def on_adverse_event(context: EventContext, event: AdverseEventReported) -> Outcome:
    if not event.serious:
        return Skip("not_serious")
    paused = await usecases.pause_for_safety(context.unit, event.patient_id or "", "serious_adverse_event")
    return Done() if paused else Skip("nothing_to_pause")


EVENT_HANDLERS: Handlers = {
    AdverseEventReported: on_adverse_event,
    SessionCompleted: on_session_completed,
}
