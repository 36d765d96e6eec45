"""Events and timers that scheduling reacts to."""

from collections.abc import Mapping

from services.scheduling import usecases
from shared.events.intake import TreatmentPlanActivated
from shared.events.monitoring import SessionCheckedIn, SessionCompleted, SessionStarted
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome
from shared.persistence.timers import TimerContext, TimerHandler


async def on_plan_activated(context: EventContext, event: TreatmentPlanActivated) -> Outcome:
    await usecases.know_plan(context.unit, event)
    return Done()


async def on_checked_in(context: EventContext, event: SessionCheckedIn) -> Outcome:
    await usecases.note_state(context.unit, event.appointment_id, "arrived")
    return Done()


async def on_started(context: EventContext, event: SessionStarted) -> Outcome:
    await usecases.note_state(context.unit, event.appointment_id, "in_progress")
    return Done()


async def on_completed(context: EventContext, event: SessionCompleted) -> Outcome:
    await usecases.note_state(context.unit, event.appointment_id, "completed")
    await usecases.book_integration(context.unit, context.deps, event)
    return Done()


async def on_reminder(context: TimerContext) -> None:
    await usecases.remind(context.unit, context.payload["appointment_id"], context.payload["stage"])


EVENT_HANDLERS: Handlers = {
    TreatmentPlanActivated: on_plan_activated,
    SessionCheckedIn: on_checked_in,
    SessionStarted: on_started,
    SessionCompleted: on_completed,
}
TIMER_HANDLERS: Mapping[str, TimerHandler] = {
    "reminder": on_reminder,
}
