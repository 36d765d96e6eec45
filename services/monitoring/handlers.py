"""Events that monitoring reacts to."""

from services.monitoring import usecases, watching
from services.monitoring.store import ALARMS
from shared.events.intake import TreatmentPlanActivated
from shared.events.notifications import EscalationAcknowledged, EscalationStepTaken
from shared.events.scheduling import AppointmentBooked
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip


async def on_plan_activated(context: EventContext, event: TreatmentPlanActivated) -> Outcome:
    await usecases.know_plan(context.unit, event)
    return Done()


async def on_booked(context: EventContext, event: AppointmentBooked) -> Outcome:
    if event.kind != "dosing":
        return Skip("no_dosing")
    await usecases.schedule(context.unit, context.deps, event)
    return Done()


async def on_acknowledged(context: EventContext, event: EscalationAcknowledged) -> Outcome:
    """An acknowledgement given to notifications is one of the alarm."""
    if await context.unit.collection(ALARMS).find_one({"_id": event.alarm_id}) is None:
        return Skip("alarm_unknown")
    await watching.accept(context.unit, context.deps, event.alarm_id, event.by_role, event.at)
    return Done()


async def on_step(context: EventContext, event: EscalationStepTaken) -> Outcome:
    await watching.note_step(context.unit, event.alarm_id, event.step)
    return Done()


EVENT_HANDLERS: Handlers = {
    TreatmentPlanActivated: on_plan_activated,
    AppointmentBooked: on_booked,
    EscalationAcknowledged: on_acknowledged,
    EscalationStepTaken: on_step,
}
