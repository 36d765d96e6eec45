"""Type string <-> class. Adding an event is one class and one row."""

from typing import TypeVar

from shared.events import intake, monitoring, notifications, scheduling
from shared.events.envelope import Event

E = TypeVar("E", bound=Event)

EVENTS: tuple[type[Event], ...] = (
    intake.InquiryReceived,
    intake.PatientRegistered,
    intake.PatientState,
    intake.TreatmentPlanActivated,
    intake.TreatmentPlanRevised,
    intake.TreatmentPlanPaused,
    intake.TreatmentPlanResumed,
    intake.TreatmentPlanCompleted,
    intake.TreatmentPlanDiscontinued,
    intake.PlanState,
    intake.ClinicChanged,
    intake.ConsentSigned,
    intake.ConsentRevoked,
    intake.ConsentExpired,
    intake.ConsentState,
    intake.EligibilityDetermined,
    intake.EligibilityExpired,
    intake.EligibilityState,
    intake.ClinicalSummaryChanged,
    intake.RemsEnrolmentChanged,
    intake.SuicideRiskFlagged,
    intake.SuicideRiskCleared,
    intake.RiskState,
    intake.AlarmContentRefused,
    intake.InquiryErased,
    intake.PatientErased,
    intake.ServiceTroubleRaised,
    intake.ServiceTroubleCleared,
    intake.ContactRecord,
    scheduling.AppointmentBooked,
    scheduling.AppointmentRescheduled,
    scheduling.AppointmentConfirmed,
    scheduling.AppointmentCancelled,
    scheduling.AppointmentNoShow,
    scheduling.AppointmentState,
    scheduling.ReadinessRecorded,
    scheduling.StaffChanged,
    scheduling.StaffState,
    scheduling.ServiceTroubleRaised,
    scheduling.ServiceTroubleCleared,
    scheduling.ReminderDue,
    scheduling.CourseBooked,
    scheduling.CourseHeld,
    scheduling.CourseReleased,
    monitoring.SessionCheckedIn,
    monitoring.SessionReassigned,
    monitoring.SessionStarted,
    monitoring.DoseAdministered,
    monitoring.VitalsAbnormal,
    monitoring.AlarmAcknowledged,
    monitoring.AlarmAttended,
    monitoring.AlarmCleared,
    monitoring.AlarmEscalated,
    monitoring.AlarmRenewed,
    monitoring.SignalLost,
    monitoring.SignalRestored,
    monitoring.EmergencyCalled,
    monitoring.EmergencyEnded,
    monitoring.DoseGateRefused,
    monitoring.DoseGateOverridden,
    monitoring.DosePaused,
    monitoring.DoseResumed,
    monitoring.DoseStopped,
    monitoring.DoseCorrected,
    monitoring.AdverseEventReported,
    monitoring.InterventionRecorded,
    monitoring.SessionAborted,
    monitoring.SessionState,
    monitoring.AlarmContentRefused,
    monitoring.EvaluatorBeat,
    monitoring.ServiceTroubleRaised,
    monitoring.ServiceTroubleCleared,
    monitoring.PatientDischarged,
    monitoring.SessionCompleted,
    notifications.NotificationDelivered,
    notifications.NotificationFailed,
    notifications.EscalationStarted,
    notifications.EscalationStepTaken,
    notifications.EscalationExhausted,
    notifications.EscalationAcknowledged,
    notifications.ContactOptedOut,
    notifications.ServiceTroubleRaised,
    notifications.ServiceTroubleCleared,
)
REGISTRY: dict[str, type[Event]] = {event.event_type(): event for event in EVENTS}


def event_of(service: str, base: type[E]) -> type[E]:
    """The producer's own class of an event that every producer has; raises KeyError when it has none."""
    for event in EVENTS:
        if service == event.SERVICE and issubclass(event, base):
            return event
    raise KeyError(base.__name__)
