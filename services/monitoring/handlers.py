"""Events that monitoring reacts to."""

from typing import Any, get_args

from services.monitoring.protocol import Kind
from services.monitoring.store import ALARMS
from services.monitoring.usecases import answering, folding, gate_expiry, projections, sessions
from shared.events import intake, scheduling
from shared.events.intake import (
    PatientErased,
    PlanState,
    TreatmentPlanActivated,
    TreatmentPlanCompleted,
    TreatmentPlanDiscontinued,
    TreatmentPlanPaused,
    TreatmentPlanResumed,
    TreatmentPlanRevised,
)
from shared.events.notifications import EscalationAcknowledged, EscalationStepTaken
from shared.events.scheduling import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentConfirmed,
    AppointmentNoShow,
    AppointmentRescheduled,
    AppointmentState,
    ReadinessRecorded,
)
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip
from shared.persistence.erased import mark_erased

Consent = intake.ConsentSigned | intake.ConsentRevoked | intake.ConsentExpired | intake.ConsentState
Eligibility = intake.EligibilityDetermined | intake.EligibilityExpired | intake.EligibilityState
Risk = intake.SuicideRiskFlagged | intake.SuicideRiskCleared | intake.RiskState


async def on_plan_activated(context: EventContext, event: TreatmentPlanActivated) -> Outcome:
    """Activated or resumed: the plan may be dosed by."""
    return Done() if await projections.know_plan(context.unit, event, "active") else Skip("older")


async def on_plan_held(context: EventContext, event: TreatmentPlanPaused) -> Outcome:
    return Done() if await projections.know_plan(context.unit, event, "held") else Skip("older")


async def on_plan_completed(context: EventContext, event: TreatmentPlanCompleted) -> Outcome:
    """Nobody is held by a plan that went to its end."""
    return Done() if await projections.know_plan(context.unit, event, "completed") else Skip("older")


async def on_plan_state(context: EventContext, event: PlanState | TreatmentPlanRevised) -> Outcome:
    """Revised or republished: applied if not older, so that a projection that was dropped is whole again."""
    return Done() if await projections.know_plan(context.unit, event, event.state) else Skip("older")


async def on_booked(context: EventContext, event: AppointmentBooked) -> Outcome:
    """Booked, confirmed or moved: each carries the whole appointment."""
    if event.kind not in get_args(Kind):
        return Skip("no_session")
    route, sequence = await projections.planned_route(context.unit, event.plan_id), context.envelope.sequence
    known = await sessions.schedule(context.unit, context.deps, event, sequence, route)
    return Done() if known else Skip("older_or_begun")


async def on_cancelled(context: EventContext, event: AppointmentCancelled) -> Outcome:
    voided = await sessions.unschedule(context.unit, event, context.envelope.sequence, event.reason_code)
    return Done() if voided else Skip("nothing_to_void")


async def on_no_show(context: EventContext, event: AppointmentNoShow) -> Outcome:
    voided = await sessions.unschedule(context.unit, event, context.envelope.sequence, "no_show")
    return Done() if voided else Skip("nothing_to_void")


async def on_appointment_state(context: EventContext, event: AppointmentState) -> Outcome:
    """Republished: the readiness, and the session of a visit that is still to come."""
    if event.ready is not None:
        await _ready(context, event)
    if event.state not in ("booked", "confirmed"):
        return Skip("no_session")
    return await on_booked(context, event)


async def on_readiness(context: EventContext, event: ReadinessRecorded) -> Outcome:
    return _applied(await _ready(context, event))


async def _ready(context: EventContext, event: ReadinessRecorded | AppointmentState) -> bool:
    facts = {"ready": event.ready, "checks": {item.check: item.ok for item in event.checks}}
    return await _know(context, "readiness", event.appointment_id, facts, event.patient_id)


def _applied(known: bool) -> Outcome:
    return Done() if known else Skip("older")


async def _know(
    context: EventContext, kind: projections.Kind, key: str, facts: dict[str, Any], patient_id: str | None = None
) -> bool:
    return await projections.know(context.unit, kind, key, context.envelope.sequence, facts, patient_id)


async def on_consent(context: EventContext, event: Consent) -> Outcome:
    return _applied(await _know(context, "consent", event.consent_id, event.model_dump(), event.patient_id))


async def on_eligibility(context: EventContext, event: Eligibility) -> Outcome:
    return _applied(await _know(context, "eligibility", event.patient_id, event.model_dump(), event.patient_id))


async def on_risk(context: EventContext, event: Risk) -> Outcome:
    """Dosing is held from a flag of any level until it is cleared."""
    return _applied(await _know(context, "risk", event.patient_id, event.model_dump(), event.patient_id))


async def on_summary(context: EventContext, event: intake.ClinicalSummaryChanged) -> Outcome:
    return _applied(await _know(context, "summary", event.patient_id, event.model_dump(), event.patient_id))


async def on_rems(context: EventContext, event: intake.RemsEnrolmentChanged) -> Outcome:
    return _applied(await _know(context, "rems", event.patient_id, event.model_dump(), event.patient_id))


async def on_clinic(context: EventContext, event: intake.ClinicChanged) -> Outcome:
    return _applied(await _know(context, "clinic", context.envelope.clinic_id, event.model_dump()))


async def on_staff(context: EventContext, event: scheduling.StaffChanged) -> Outcome:
    """Days of credentials are kept as text: the store knows no date without a time."""
    days = [{"credential": item.credential, "date": item.date.isoformat()} for item in event.valid_until]
    facts = event.model_dump(exclude={"valid_until"}) | {"valid_until": days}
    return _applied(await _know(context, "staff", event.staff_id, facts))


async def on_acknowledged(context: EventContext, event: EscalationAcknowledged) -> Outcome:
    """An acknowledgement given to notifications is one of the alarm, unless people were asked anew since."""
    alarm = await context.unit.collection(ALARMS).find_one({"_id": event.alarm_id})
    if alarm is None:
        return Skip("alarm_unknown")
    if answering.asked_again_after(alarm, event.at):
        return Skip("asked_again")
    await answering.accept(context.unit, context.deps, event.alarm_id, event.by_role, event.at, by=event.by)
    return Done()


async def on_step(context: EventContext, event: EscalationStepTaken) -> Outcome:
    noted = await answering.note_step(context.unit, event.alarm_id, event.step)
    return Done() if noted else Skip("alarm_unknown")


async def on_patient_erased(context: EventContext, event: PatientErased) -> Outcome:
    """Labels and notes become unreadable; dose and audit records stay, pseudonymous."""
    await context.deps.vault.shred(context.unit, event.patient_id)
    await projections.forget(context.unit, event.patient_id)
    await mark_erased(context.unit, event.patient_id)
    return Done()


EVENT_HANDLERS: Handlers = {
    PatientErased: on_patient_erased,
    TreatmentPlanActivated: on_plan_activated,
    TreatmentPlanResumed: on_plan_activated,
    TreatmentPlanPaused: on_plan_held,
    TreatmentPlanDiscontinued: on_plan_held,
    TreatmentPlanCompleted: on_plan_completed,
    TreatmentPlanRevised: on_plan_state,
    PlanState: on_plan_state,
    AppointmentBooked: on_booked,
    AppointmentRescheduled: on_booked,
    AppointmentConfirmed: on_booked,
    AppointmentState: on_appointment_state,
    AppointmentCancelled: on_cancelled,
    AppointmentNoShow: on_no_show,
    ReadinessRecorded: on_readiness,
    intake.ConsentSigned: on_consent,
    intake.ConsentRevoked: on_consent,
    intake.ConsentExpired: on_consent,
    intake.ConsentState: on_consent,
    intake.EligibilityDetermined: on_eligibility,
    intake.EligibilityExpired: on_eligibility,
    intake.EligibilityState: on_eligibility,
    intake.RiskState: on_risk,
    intake.ClinicalSummaryChanged: on_summary,
    intake.RemsEnrolmentChanged: on_rems,
    intake.ClinicChanged: on_clinic,
    scheduling.StaffChanged: on_staff,
    scheduling.StaffState: on_staff,
    EscalationAcknowledged: on_acknowledged,
    EscalationStepTaken: on_step,
}
ALARM_HANDLERS: Handlers = {
    intake.SuicideRiskFlagged: on_risk,
    intake.SuicideRiskCleared: on_risk,
}

TIMER_HANDLERS = {folding.FOLD: folding.on_fold, gate_expiry.GATE: gate_expiry.on_expired}
