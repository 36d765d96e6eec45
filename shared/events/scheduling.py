"""What scheduling tells the others."""

from datetime import date, datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import common
from shared.events.envelope import Event


class _SchedulingEvent(Event):
    SERVICE: ClassVar[str] = "scheduling"


class ResourceRef(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    kind: Literal["room", "chair", "monitor", "pump", "clinician"]
    label: str


class AppointmentBooked(_SchedulingEvent):
    patient_id: str
    appointment_id: str
    kind: Literal["consultation", "preparation", "dosing", "integration", "follow_up", "group", "wellness"]
    mode: Literal["in_person", "video", "phone"]
    plan_id: str | None = None
    sequence_no: int | None = None
    of: int | None = None
    start: datetime
    end: datetime
    time_zone: str
    resources: list[ResourceRef]


class ReminderDue(_SchedulingEvent):
    patient_id: str
    appointment_id: str
    stage: str
    start: datetime


class CourseHeld(_SchedulingEvent):
    patient_id: str
    plan_id: str
    reason_code: Literal["no_slot", "aborted", "risk", "paused"]


class AppointmentRescheduled(AppointmentBooked):
    """The whole appointment as it is now."""


class AppointmentCancelled(AppointmentBooked):
    """The whole appointment as it was."""

    reason_code: str | None = None


class Credential(BaseModel):
    model_config = ConfigDict(frozen=True)

    credential: str
    date: date


class StaffChanged(_SchedulingEvent):
    """The whole entry of the staff directory; without roles: has left."""

    staff_id: str
    roles: list[str]
    locations: list[str] = Field(default_factory=list)
    valid_until: list[Credential] = Field(default_factory=list)


class ServiceTroubleRaised(_SchedulingEvent, common.ServiceTroubleRaised):
    """See common."""


class ServiceTroubleCleared(_SchedulingEvent, common.ServiceTroubleCleared):
    """See common."""
