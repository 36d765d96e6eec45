"""Events that intake reacts to."""

from services.intake import usecases
from shared.events.monitoring import SessionCompleted
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip


async def on_session_completed(context: EventContext, event: SessionCompleted) -> Outcome:
    if event.plan_id is None or event.sequence_no is None:
        return Skip("not_of_a_plan")
    return Done() if await usecases.count_session(context.unit, event) else Skip("nothing_to_count")


EVENT_HANDLERS: Handlers = {
    SessionCompleted: on_session_completed,
}
