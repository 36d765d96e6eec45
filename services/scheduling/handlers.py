"""Events and timers that scheduling reacts to."""

from collections.abc import Mapping

from services.scheduling.usecases import appointments, holds, plans, visits
from services.scheduling.usecases.visits import Session
from shared.events import intake, monitoring
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip
from shared.persistence.erased import mark_erased
from shared.persistence.timers import TimerContext, TimerHandler


def _done(applied: bool, otherwise: str = "older_or_erased") -> Outcome:
    return Done() if applied else Skip(otherwise)


# Plans


PlanEvent = (
    intake.TreatmentPlanActivated
    | intake.TreatmentPlanRevised
    | intake.TreatmentPlanPaused
    | intake.TreatmentPlanResumed
    | intake.TreatmentPlanCompleted
    | intake.TreatmentPlanDiscontinued
)


async def on_plan(context: EventContext, event: PlanEvent) -> Outcome:
    """Each carries the whole plan; one that a prescriber let go on ends the hold after an aborted session."""
    answered = isinstance(event, intake.TreatmentPlanRevised | intake.TreatmentPlanResumed)
    reviewed = answered and event.state == "active" and "session_aborted" not in event.review_codes
    sequence = context.envelope.sequence
    return _done(await plans.know_plan(context.unit, context.deps, event.model_dump(), sequence, reviewed=reviewed))


async def on_plan_state(context: EventContext, event: intake.PlanState) -> Outcome:
    sequence = context.envelope.sequence
    return _done(await plans.know_plan(context.unit, context.deps, event.model_dump(), sequence, act=False))


# Patients


async def on_patient(context: EventContext, event: intake.PatientRegistered) -> Outcome:
    sequence, act = context.envelope.sequence, not isinstance(event, intake.PatientState)
    return _done(await plans.know_patient(context.unit, event.patient_id, event.time_zone, sequence, act=act))


async def on_patient_erased(context: EventContext, event: intake.PatientErased) -> Outcome:
    await mark_erased(context.unit, event.patient_id)
    await plans.forget_patient(context.unit, context.deps, event.patient_id)
    return Done()


async def on_risk(
    context: EventContext, event: intake.SuicideRiskFlagged | intake.SuicideRiskCleared | intake.RiskState
) -> Outcome:
    """Held from a flag of any level until it is cleared."""
    sequence, act = context.envelope.sequence, not isinstance(event, intake.RiskState)
    patient_id, held = event.patient_id, event.flagged
    return _done(await plans.know_risk(context.unit, context.deps, patient_id, sequence, held=held, act=act))


async def on_consent(
    context: EventContext,
    event: intake.ConsentSigned | intake.ConsentRevoked | intake.ConsentExpired | intake.ConsentState,
) -> Outcome:
    sequence, act = context.envelope.sequence, not isinstance(event, intake.ConsentState)
    consent = {"document": event.document, "state": event.state, "sequence": sequence}
    known = await plans.know_consent(context.unit, context.deps, event.patient_id, event.consent_id, consent, act=act)
    return _done(known)


async def on_clinic(context: EventContext, event: intake.ClinicChanged) -> Outcome:
    return _done(await plans.know_clinic(context.unit, event.time_zone, context.envelope.sequence))


# Monitoring


async def on_checked_in(context: EventContext, event: monitoring.SessionCheckedIn) -> Outcome:
    return _done(await visits.note(context.unit, event.appointment_id, "arrive"), "unscheduled_or_older")


async def on_session_state(context: EventContext, event: monitoring.SessionState) -> Outcome:
    """Voided: the check-in was a mistake. Every other state has an event of its own."""
    if event.state != "voided":
        return Skip("not_voided")
    return _done(await visits.note(context.unit, event.appointment_id, "not_arrived"), "unscheduled_or_older")


async def on_started(context: EventContext, event: monitoring.SessionStarted) -> Outcome:
    return _done(await visits.note(context.unit, event.appointment_id, "start"), "unscheduled_or_older")


async def on_dose(context: EventContext, event: monitoring.DoseAdministered) -> Outcome:
    await visits.note_dose(context.unit, event.patient_id, event.at)
    return Done()


async def on_dose_corrected(context: EventContext, event: monitoring.DoseCorrected) -> Outcome:
    """A dose that a patient had after all counts for the gap; one that was not given leaves the longer gap standing."""
    if not event.given:
        return Skip("not_given")
    await visits.note_dose(context.unit, event.patient_id, event.at)
    return Done()


async def on_completed(context: EventContext, event: monitoring.SessionCompleted) -> Outcome:
    """After an abort it comes too, when the patient has left.

    Of a session of a kind without a dose, and of whoever died, only the visit ends: no integration follows.
    """
    verb = "abort" if event.outcome_code == "aborted" else "complete"
    if event.kind in monitoring.WITHOUT_DOSE or event.disposition == "died":
        return _done(await visits.note(context.unit, event.appointment_id, verb), "unscheduled_or_older")
    await visits.ended(context.unit, context.deps, _session(event), verb)
    return Done()


async def on_aborted(context: EventContext, event: monitoring.SessionAborted) -> Outcome:
    if event.kind in monitoring.WITHOUT_DOSE:
        return _done(await visits.note(context.unit, event.appointment_id, "abort"), "unscheduled_or_older")
    await visits.aborted(context.unit, context.deps, _session(event))
    return Done()


def _session(event: monitoring.SessionCompleted | monitoring.SessionAborted) -> Session:
    return Session(event.session_id, event.patient_id, event.appointment_id, event.plan_id)


# Timers


async def on_reminder(context: TimerContext) -> None:
    payload = context.payload
    await appointments.remind(context.unit, context.deps, payload["appointment_id"], payload["stage"])


async def on_hold_expires(context: TimerContext) -> None:
    await holds.end(context.unit, context.payload["hold_id"])


EVENT_HANDLERS: Handlers = {
    intake.TreatmentPlanActivated: on_plan,
    intake.TreatmentPlanRevised: on_plan,
    intake.TreatmentPlanPaused: on_plan,
    intake.TreatmentPlanResumed: on_plan,
    intake.TreatmentPlanCompleted: on_plan,
    intake.TreatmentPlanDiscontinued: on_plan,
    intake.PlanState: on_plan_state,
    intake.ConsentSigned: on_consent,
    intake.ConsentRevoked: on_consent,
    intake.ConsentExpired: on_consent,
    intake.ConsentState: on_consent,
    intake.RiskState: on_risk,
    intake.ClinicChanged: on_clinic,
    intake.PatientRegistered: on_patient,
    intake.PatientState: on_patient,
    intake.PatientErased: on_patient_erased,
    monitoring.SessionCheckedIn: on_checked_in,
    monitoring.SessionState: on_session_state,
    monitoring.SessionStarted: on_started,
    monitoring.DoseAdministered: on_dose,
    monitoring.DoseCorrected: on_dose_corrected,
    monitoring.SessionCompleted: on_completed,
    monitoring.SessionAborted: on_aborted,
}
ALARM_HANDLERS: Handlers = {
    intake.SuicideRiskFlagged: on_risk,
    intake.SuicideRiskCleared: on_risk,
}
TIMER_HANDLERS: Mapping[str, TimerHandler] = {
    "reminder": on_reminder,
    "hold_expires": on_hold_expires,
}
