"""What scheduling tells the others."""

from datetime import date, datetime
from typing import ClassVar, Literal

from pydantic import Field

from shared.events import common
from shared.events.envelope import Event, Part

CancelReason = Literal[
    "patient", "clinic", "illness", "other", "plan_discontinued", "consent_revoked", "session_changed", "erased"
]
HoldReason = Literal["no_slot", "aborted", "risk", "paused", "consent_revoked", "discontinued"]
CheckName = Literal["fasting", "escort", "instructions_read", "medication_changes", "well_today"]
AppointmentStatus = Literal[
    "booked", "confirmed", "arrived", "in_progress", "completed", "aborted", "cancelled", "no_show"
]


class _SchedulingEvent(Event):
    SERVICE: ClassVar[str] = "scheduling"


class ResourceRef(Part):
    id: str
    kind: Literal["room", "chair", "monitor", "pump", "clinician"]
    label: str


class AppointmentBooked(_SchedulingEvent):
    patient_id: str
    appointment_id: str
    kind: Literal["consultation", "preparation", "dosing", "integration", "follow_up", "group", "wellness"]
    mode: Literal["in_person", "video", "phone"]
    location_id: str | None = None
    plan_id: str | None = None
    sequence_no: int | None = None
    of: int | None = None
    start: datetime
    end: datetime
    time_zone: str
    resources: list[ResourceRef]


class AppointmentRescheduled(AppointmentBooked):
    """The whole appointment as it is now."""


class AppointmentConfirmed(AppointmentBooked):
    """The patient will come; the whole appointment."""


class AppointmentCancelled(AppointmentBooked):
    """The whole appointment as it was."""

    reason_code: CancelReason | None = None


class AppointmentNoShow(AppointmentBooked):
    """The patient did not come; the whole appointment as it was."""


class CheckResult(Part):
    check: CheckName
    ok: bool


class ReadinessRecorded(_SchedulingEvent):
    """All checks of this visit as they are known now; `ready` when every check that its kind needs is ok."""

    patient_id: str
    appointment_id: str
    ready: bool
    checks: list[CheckResult]


class AppointmentState(AppointmentBooked):
    """For `republish`: the appointment with its readiness, an upsert without action."""

    state: AppointmentStatus
    reason_code: CancelReason | None = None
    ready: bool | None = None
    checks: list[CheckResult] = Field(default_factory=list)


class ReminderDue(_SchedulingEvent):
    patient_id: str
    appointment_id: str
    stage: str
    start: datetime
    missing_checks: list[CheckName] = Field(default_factory=list)


class CourseBooked(_SchedulingEvent):
    """The ids of all appointments that this booking made, in the order of their times."""

    patient_id: str
    plan_id: str
    appointments: list[str]


class CourseHeld(_SchedulingEvent):
    """No dosing session of this course is booked until it is released; `appointments` are those still in the book."""

    patient_id: str
    plan_id: str
    reason_code: HoldReason
    appointments: list[str] = Field(default_factory=list)


class CourseReleased(_SchedulingEvent):
    """Nothing holds the course any more; `reason_code` is the hold that ended last."""

    patient_id: str
    plan_id: str
    reason_code: HoldReason
    appointments: list[str] = Field(default_factory=list)


class Credential(Part):
    credential: str
    date: date


class StaffChanged(_SchedulingEvent):
    """The whole entry of the staff directory; without roles: has left."""

    staff_id: str
    roles: list[str]
    locations: list[str] = Field(default_factory=list)
    valid_until: list[Credential] = Field(default_factory=list)


class StaffState(StaffChanged):
    """For `republish`: an upsert without action."""


class ServiceTroubleRaised(_SchedulingEvent, common.ServiceTroubleRaised):
    """See common."""


class ServiceTroubleCleared(_SchedulingEvent, common.ServiceTroubleCleared):
    """See common."""
