"""Type string <-> class. Adding an event is one class and one row."""

from shared.events import intake, monitoring, notifications, scheduling
from shared.events.envelope import Event

EVENTS: tuple[type[Event], ...] = (
    intake.InquiryReceived,
    intake.PatientRegistered,
    intake.TreatmentPlanActivated,
    intake.TreatmentPlanCompleted,
    intake.InquiryErased,
    intake.ContactRecord,
    scheduling.AppointmentBooked,
    scheduling.ReminderDue,
    scheduling.CourseHeld,
    monitoring.SessionCheckedIn,
    monitoring.SessionStarted,
    monitoring.DoseAdministered,
    monitoring.VitalsAbnormal,
    monitoring.AlarmAcknowledged,
    monitoring.AlarmAttended,
    monitoring.AlarmCleared,
    monitoring.PatientDischarged,
    monitoring.SessionCompleted,
    notifications.NotificationDelivered,
    notifications.EscalationStarted,
    notifications.EscalationStepTaken,
    notifications.EscalationAcknowledged,
)
REGISTRY: dict[str, type[Event]] = {event.event_type(): event for event in EVENTS}
