"""HTTP bodies of intake; never reused as events or documents."""

from typing import Annotated, Literal

from pydantic import Field

from shared.web.schemas import Body, Id, Instant, ShortText

Email = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
Channel = Literal["phone", "web_form", "email", "provider_referral"]
Route = Literal["iv", "im", "sublingual", "esketamine_nasal"]


class Contact(Body):
    name: ShortText
    email: Email
    phone: Phone | None = None
    language: Literal["en"] = "en"


class NewInquiry(Body):
    """First contact; the channel of the public form is always `web_form`."""

    channel: Channel = "web_form"
    self_referred: bool = True
    contact: Contact


class Inquiry(Body):
    id: Id
    channel: Channel
    state: Literal["open", "converted", "erased"]
    patient_id: Id | None = None
    received_at: Instant
    version: int


class Conversion(Body):
    birth_year: Annotated[int, Field(ge=1900, le=2100)]
    time_zone: ShortText = "America/New_York"


class Patient(Body):
    id: Id
    inquiry_id: Id | None = None
    birth_year: int
    time_zone: str
    contact: Contact | None = None
    version: int


class NewPlan(Body):
    route: Route
    dose_mg_per_kg: Annotated[float, Field(gt=0, le=10)]
    session_count: Annotated[int, Field(ge=1, le=24)]
    integration_after: bool = True


class Plan(Body):
    id: Id
    patient_id: Id
    route: Route
    medication: str
    dose_mg_per_kg: float
    session_count: int
    sessions_done: int
    min_gap_hours: int
    integration_after: bool
    state: Literal["draft", "active", "paused", "completed", "discontinued"]
    protocol_version: str
    version: int


class Erasure(Body):
    reason_code: Literal["asked_by_the_person", "duplicate", "test_data"]


class PlanMove(Body):
    """Why; a code of the clinic's own list."""

    reason_code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None
