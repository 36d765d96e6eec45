"""HTTP bodies of scheduling."""

from typing import Annotated, Literal

from pydantic import Field

from shared.web.schemas import Body, Id, Instant, ShortText

Kind = Literal["consultation", "preparation", "dosing", "integration", "follow_up", "group", "wellness"]
ResourceKind = Literal["room", "chair", "monitor", "pump", "clinician"]
State = Literal["booked", "arrived", "in_progress", "completed"]


class NewResource(Body):
    kind: ResourceKind
    label: ShortText


class Resource(NewResource):
    id: Id
    version: int


class NewAppointment(Body):
    patient_id: Id
    kind: Kind
    mode: Literal["in_person", "video", "phone"] = "in_person"
    plan_id: Id | None = None
    start: Instant
    end: Instant
    resources: Annotated[list[Id], Field(min_length=1, max_length=10)]


class Appointment(Body):
    id: Id
    patient_id: Id
    kind: Kind
    mode: Literal["in_person", "video", "phone"]
    plan_id: Id | None = None
    sequence_no: int | None = None
    of: int | None = None
    start: Instant
    end: Instant
    resources: list[Resource]
    state: State
    follows_session: Id | None = None
    version: int


class Course(Body):
    """What is booked of a plan's sessions."""

    plan_id: Id
    known: bool
    session_count: int = 0
    booked: int = 0
