"""HTTP bodies of scheduling; never reused as events or documents."""

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from services.scheduling.hours import DAYS, Day, minute_of
from shared.events.scheduling import AppointmentStatus, CheckName, HoldReason
from shared.web.schemas import Body, Id, Instant, ShortText

Kind = Literal["consultation", "preparation", "dosing", "integration", "follow_up", "group", "wellness"]
ResourceKind = Literal["room", "chair", "monitor", "pump", "clinician"]
Mode = Literal["in_person", "video", "phone"]
Minutes = Annotated[int, Field(ge=5, le=480)]
Resources = Annotated[list[Id], Field(min_length=1, max_length=10)]

# Resources


class NewResource(Body):
    kind: ResourceKind
    label: ShortText
    location_id: Id | None = None


class ResourceChange(Body):
    """Only what is named changes; a resource that is not active can no longer be booked."""

    label: ShortText = Field(default_factory=str)  # an empty default would contradict the schema
    location_id: Id | None = None
    active: bool = True


class Opening(Body):
    """A span of one day on the clinic's wall clock; "24:00" is the day's end."""

    day: Day
    opens: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][05]$")]
    closes: Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][05]|24:00)$")]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if minute_of(self.opens) >= minute_of(self.closes):
            raise ValueError("closes must be after opens")
        return self


class Hours(Body):
    """The whole week; null: always open, an empty list: never."""

    hours: Annotated[list[Opening], Field(max_length=50)] | None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        spans = sorted((DAYS.index(s.day), minute_of(s.opens), minute_of(s.closes)) for s in self.hours or [])
        for before, after in pairwise(spans):
            if before[0] == after[0] and before[2] >= after[1]:
                raise ValueError("the spans of one day must not touch each other")
        return self


class NewClosure(Body):
    start: Instant
    end: Instant
    reason_code: Literal["holiday", "maintenance", "absence", "other"] = "other"


class Closure(NewClosure):
    id: Id


class ResourceRef(Body):
    id: Id
    kind: ResourceKind
    label: str


class Resource(ResourceRef):
    location_id: Id | None = None
    active: bool
    hours: list[Opening] | None = None
    closures: list[Closure] = Field(default_factory=list)
    affected: list[Id] | None = Field(default=None, description="after a closure: appointments that lie within it")
    version: int


# Places in time


class Slot(Body):
    """A time at which every needed resource is free; `resources` are the ones to book."""

    start: Instant
    end: Instant
    resources: list[Id]


class Wanted(BaseModel):
    """The query of /v1/availability: exactly these `resources`, and any one of each of `kinds`."""

    from_: Instant = Field(alias="from")
    to: Instant
    minutes: Minutes
    resources: Annotated[list[Id], Field(max_length=10)] = Field(default_factory=list)
    kinds: Annotated[list[ResourceKind], Field(max_length=5)] = Field(default_factory=list)
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Availability(Body):
    """In the order of time; `next_from` continues the search where the limit was reached."""

    items: list[Slot]
    next_from: Instant | None = None


class NewHold(Body):
    resources: Resources
    start: Instant
    end: Instant
    seconds: Annotated[int, Field(ge=5, le=900)] | None = None


class Hold(Body):
    id: Id
    resources: list[Id]
    start: Instant
    end: Instant
    expires_at: Instant


# Appointments


class NewAppointment(Body):
    """`hold_id`: the hold whose place this booking takes."""

    patient_id: Id
    kind: Kind
    mode: Mode = "in_person"
    plan_id: Id | None = None
    start: Instant
    end: Instant
    resources: Resources
    hold_id: Id | None = None


class Reschedule(Body):
    """Without resources the same ones at the new time."""

    start: Instant
    end: Instant
    resources: Resources | None = None


class Cancellation(Body):
    reason_code: Literal["patient", "clinic", "illness", "other"]


class Check(Body):
    check: CheckName
    ok: bool


class NewReadiness(Body):
    """What was asked now; checks that are not named keep their last answer."""

    checks: Annotated[list[Check], Field(min_length=1, max_length=5)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({check.check for check in self.checks}) != len(self.checks):
            raise ValueError("each check may be named once")
        return self


class Readiness(Body):
    ready: bool
    checks: list[Check]
    missing: list[CheckName]
    at: Instant


class Appointment(Body):
    id: Id
    patient_id: Id
    kind: Kind
    mode: Mode
    location_id: Id | None = None
    plan_id: Id | None = None
    sequence_no: int | None = None
    of: int | None = None
    start: Instant
    end: Instant
    time_zone: str
    resources: list[ResourceRef]
    state: AppointmentStatus
    reason_code: str | None = None
    readiness: Readiness | None = None
    follows_session: Id | None = None
    follows_appointment: Id | None = None
    version: int


# Courses


class NewCourse(Body):
    """One start: the others follow by the plan's cadence. Or one for each session that is not booked yet: exactly these.

    With `integration_resources` an integration session is reserved after each, in the protocol's window.
    """

    starts: Annotated[list[Instant], Field(min_length=1, max_length=24)]
    minutes: Minutes | None = None
    resources: Resources
    integration_resources: Annotated[list[Id], Field(max_length=10)] = Field(default_factory=list)


class Release(Body):
    """Holds that people end; the others end with what caused them."""

    reason_code: Literal["no_slot", "aborted"]


class Course(Body):
    """What is booked of a plan's sessions; `known` is false until the plan's event has arrived."""

    plan_id: Id
    known: bool
    status: Literal["unknown", "draft", "active", "paused", "completed", "discontinued"] = "unknown"
    holds: list[HoldReason] = Field(default_factory=list)
    session_count: int = 0
    booked: int = 0
    appointments: list[Id] = Field(default_factory=list)


# Staff

StaffId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
StaffRole = Literal["front_desk", "nurse", "clinician", "prescriber", "medical_director", "operator"]


class Credential(Body):
    credential: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    valid_until: date


class StaffChange(Body):
    """Only what is named changes; a list replaces the whole list; without roles: has left."""

    roles: Annotated[list[StaffRole], Field(max_length=6)] = Field(default_factory=list)
    locations: Annotated[list[Id], Field(max_length=50)] = Field(default_factory=list)
    credentials: Annotated[list[Credential], Field(max_length=50)] = Field(default_factory=list)


class NewStaff(StaffChange):
    """`staff_id` is the subject of the person's tokens; no name is kept here."""

    staff_id: StaffId
    roles: Annotated[list[StaffRole], Field(min_length=1, max_length=6)]


class Staff(NewStaff):
    roles: list[StaffRole]
    version: int
