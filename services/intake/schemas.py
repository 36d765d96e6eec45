"""HTTP bodies of intake; never reused as events or documents."""

from typing import Annotated, Literal, Self, TypeVar
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from shared.web.schemas import Body, Id, Instant, ShortText

B = TypeVar("B", bound=Body)
Email = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
Channel = Literal["phone", "web_form", "email", "provider_referral"]
Route = Literal["iv", "im", "sublingual", "esketamine_nasal"]
BirthYear = Annotated[int, Field(ge=1900, le=2100)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["asked_by_the_patient"])]
"""A code of the clinic's own list; never free text."""
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:|-]{0,63}$", examples=["rxnorm:6130"])]
"""A code with its system where it has one."""
Codes = Annotated[list[Code], Field(max_length=200)]
DocumentVersion = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$", examples=["2026-11"])]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=["0" * 64])]
Dose = Annotated[float, Field(gt=0, le=10)]
SessionCount = Annotated[int, Field(ge=1, le=24)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$", examples=["en"])]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("is not a time zone of the tz database")
    return name


TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_known_zone)]


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


class NewPerson(Body):
    birth_year: BirthYear
    time_zone: TimeZone = "America/New_York"


class Conversion(NewPerson):
    """What an inquiry does not say."""


class NewPatient(NewPerson):
    """A patient who comes without an inquiry."""

    contact: Contact


class PatientChange(Body):
    """Only what is to be corrected."""

    birth_year: BirthYear | None = None
    time_zone: TimeZone | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        return _not_empty(self, set())


class Patient(Body):
    id: Id
    inquiry_id: Id | None = None
    birth_year: int
    time_zone: str
    contact: Contact | None = None
    legal_hold: bool = False
    version: int


class NewPlan(Body):
    route: Route
    dose_mg_per_kg: Dose
    session_count: SessionCount
    integration_after: bool = True


class PlanRevision(Body):
    """Only what is to change; another route is another plan."""

    dose_mg_per_kg: Dose | None = None
    session_count: SessionCount | None = None
    integration_after: bool | None = None
    reason_code: Slug

    @model_validator(mode="after")
    def _something(self) -> Self:
        return _not_empty(self, {"reason_code"})


class Plan(Body):
    """`review_codes`: findings that a prescriber has not answered by revise, resume or discontinue."""

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
    reason_code: str | None = None
    review_codes: list[str]
    protocol_version: str
    version: int


class Reason(Body):
    reason_code: Slug


class Erasure(Body):
    reason_code: Literal["asked_by_the_person", "duplicate", "test_data"]


class PatientErasure(Erasure):
    """`contact`: name and addresses, always possible; `all`: the whole person, once retention has passed and no hold runs."""

    scope: Literal["contact", "all"] = "contact"


class Location(Body):
    """Without an id: a new one. `rems_certified_until`: the setting's certification for esketamine."""

    id: Id | None = None
    label: ShortText
    rems_certified_until: Instant | None = None


class ClinicProfile(Body):
    time_zone: TimeZone
    languages: Annotated[list[Language], Field(min_length=1, max_length=20)]


class Locations(Body):
    """All of them."""

    locations: Annotated[list[Location], Field(max_length=100)]


class Services(Body):
    """All that the clinic offers, as codes."""

    services: Annotated[list[Slug], Field(max_length=100)]


class Clinic(ClinicProfile, Locations, Services):
    """`version` 0: nothing was set yet."""

    id: str
    version: int


class NewConsent(Body):
    """Which text was signed (its SHA-256), by whom, when. Without `valid_until` the document's own rule counts."""

    document: Slug
    document_version: DocumentVersion
    text_sha256: Sha256
    signer: Literal["patient", "representative"] = "patient"
    signed_at: Instant | None = None
    valid_until: Instant | None = None


class Consent(NewConsent):
    id: Id
    patient_id: Id
    state: Literal["signed", "revoked", "expired"]
    reason_code: str | None = None
    version: int


class NewDecision(Body):
    """Without a route it is for every route. An approval needs `valid_until`, any other decision a reason."""

    decision: Literal["approved", "declined", "deferred"]
    route: Route | None = None
    indication: Code
    reason_codes: Annotated[list[Slug], Field(max_length=20)] = Field(default_factory=list)
    valid_until: Instant | None = None


class Decision(NewDecision):
    """`standing`: the newest of the patient, the one that counts."""

    id: Id
    patient_id: Id
    decided_at: Instant
    decided_by: str
    standing: bool
    expired: bool
    version: int


class NewClinicalSummary(Body):
    """The whole summary, codes only. `reconciled_at`: when it was compared with the patient; now, if not given."""

    allergies: Codes
    medications: Codes
    problems: Codes
    reconciled_at: Instant | None = None


class ClinicalSummary(NewClinicalSummary):
    """`version` 0: nothing was recorded yet, which is not the same as no allergies."""

    patient_id: Id
    version: int


class NewRemsEnrolment(Body):
    status: Literal["not_enrolled", "pending", "enrolled", "disenrolled"]
    valid_until: Instant | None = None


class RemsEnrolment(NewRemsEnrolment):
    patient_id: Id
    version: int


class RiskFinding(Body):
    """`item` of the instrument. `unassessed`: a sign was seen and nobody has assessed it yet."""

    instrument: Literal["phq9", "cssrs", "madrs", "qids_sr16", "clinical_judgement"]
    item: Annotated[int, Field(ge=1, le=30)] | None = None
    level: Literal["unassessed", "low", "moderate", "high"]
    assessment_due_at: Instant | None = None


class RiskAssessment(RiskFinding):
    """What allows dosing again."""

    level: Literal["low", "moderate"]
    assessment_due_at: None = None


class Risk(Body):
    """Dosing is held while `flagged`. `version` 0: nothing was ever flagged."""

    patient_id: Id
    flagged: bool
    instrument: str | None = None
    item: int | None = None
    level: str | None = None
    assessment_due_at: Instant | None = None
    at: Instant | None = None
    version: int


def _not_empty(body: B, but: set[str]) -> B:
    if not body.model_dump(exclude=but, exclude_none=True):
        raise ValueError("names nothing to change")
    return body
