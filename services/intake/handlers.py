"""Events and timers that intake reacts to."""

from collections.abc import Mapping

from services.intake.usecases import consents, eligibility, erasing, plans
from shared.events.monitoring import WITHOUT_DOSE, AdverseEventReported, SessionAborted, SessionCompleted
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip
from shared.persistence.timers import TimerContext, TimerHandler


async def on_session_completed(context: EventContext, event: SessionCompleted) -> Outcome:
    if event.plan_id is None or event.sequence_no is None:
        return Skip("not_of_a_plan")
    if event.kind in WITHOUT_DOSE:
        return Skip("no_dosing")
    return Done() if await plans.count_session(context.unit, event) else Skip("nothing_to_count")


async def on_adverse_event(context: EventContext, event: AdverseEventReported) -> Outcome:
    """The same event told again, or corrected, pauses nothing that a prescriber has resumed."""
    if not event.serious:
        return Skip("not_serious")
    return Done() if await plans.review_after_event(context.unit, event) else Skip("nothing_to_review")


async def on_session_aborted(context: EventContext, event: SessionAborted) -> Outcome:
    if event.plan_id is None:
        return Skip("not_of_a_plan")
    if event.kind in WITHOUT_DOSE:
        return Skip("no_dosing")
    return Done() if await plans.review_after_abort(context.unit, event) else Skip("nothing_to_review")


async def on_consent_expires(context: TimerContext) -> None:
    await consents.expire(context.unit, context.payload["consent_id"])


async def on_eligibility_expires(context: TimerContext) -> None:
    await eligibility.expire(context.unit, context.payload["eligibility_id"])


async def on_roll_partition(context: TimerContext) -> None:
    await erasing.roll(context.unit, context.payload)


EVENT_HANDLERS: Handlers = {
    AdverseEventReported: on_adverse_event,
    SessionAborted: on_session_aborted,
    SessionCompleted: on_session_completed,
}
TIMER_HANDLERS: Mapping[str, TimerHandler] = {
    "consent_expires": on_consent_expires,
    "eligibility_expires": on_eligibility_expires,
    "roll_partition": on_roll_partition,
}
