"""Events that monitoring reacts to."""

from services.monitoring.store import ALARMS
from services.monitoring.usecases import answering, folding, projections, sessions
from shared.events.intake import (
    PatientErased,
    PlanState,
    TreatmentPlanActivated,
    TreatmentPlanDiscontinued,
    TreatmentPlanPaused,
    TreatmentPlanResumed,
)
from shared.events.notifications import EscalationAcknowledged, EscalationStepTaken
from shared.events.scheduling import AppointmentBooked, AppointmentCancelled
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip
from shared.persistence.erased import mark_erased


async def on_plan_activated(context: EventContext, event: TreatmentPlanActivated) -> Outcome:
    """Activated or resumed: the plan may be dosed by."""
    return Done() if await projections.know_plan(context.unit, event, "active") else Skip("older")


async def on_plan_held(context: EventContext, event: TreatmentPlanPaused) -> Outcome:
    return Done() if await projections.know_plan(context.unit, event, "held") else Skip("older")


async def on_plan_state(context: EventContext, event: PlanState) -> Outcome:
    """Republished: applied if not older, so that a projection that was dropped is whole again."""
    return Done() if await projections.know_plan(context.unit, event, event.state) else Skip("older")


async def on_booked(context: EventContext, event: AppointmentBooked) -> Outcome:
    if event.kind != "dosing":
        return Skip("no_dosing")
    plan = await projections.plan(context.unit, event.plan_id)
    await sessions.schedule(context.unit, context.deps, event, plan["route"] if plan else None)
    return Done()


async def on_cancelled(context: EventContext, event: AppointmentCancelled) -> Outcome:
    return Done() if await sessions.unschedule(context.unit, event) else Skip("nothing_to_void")


async def on_acknowledged(context: EventContext, event: EscalationAcknowledged) -> Outcome:
    """An acknowledgement given to notifications is one of the alarm."""
    if await context.unit.collection(ALARMS).find_one({"_id": event.alarm_id}) is None:
        return Skip("alarm_unknown")
    await answering.accept(context.unit, context.deps, event.alarm_id, event.by_role, event.at, event.by)
    return Done()


async def on_step(context: EventContext, event: EscalationStepTaken) -> Outcome:
    await answering.note_step(context.unit, event.alarm_id, event.step)
    return Done()


async def on_patient_erased(context: EventContext, event: PatientErased) -> Outcome:
    """Labels and notes become unreadable; dose and audit records stay, pseudonymous."""
    await context.deps.vault.shred(context.unit, event.patient_id)
    await mark_erased(context.unit, event.patient_id)
    return Done()


EVENT_HANDLERS: Handlers = {
    PatientErased: on_patient_erased,
    TreatmentPlanActivated: on_plan_activated,
    TreatmentPlanResumed: on_plan_activated,
    TreatmentPlanPaused: on_plan_held,
    TreatmentPlanDiscontinued: on_plan_held,
    PlanState: on_plan_state,
    AppointmentBooked: on_booked,
    AppointmentCancelled: on_cancelled,
    EscalationAcknowledged: on_acknowledged,
    EscalationStepTaken: on_step,
}

TIMER_HANDLERS = {folding.FOLD: folding.on_fold}
