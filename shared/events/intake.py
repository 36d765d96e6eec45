"""What intake tells the others."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from shared.events import common
from shared.events.envelope import Event, Lane, Part

Route = Literal["iv", "im", "sublingual", "esketamine_nasal"]
PlanStatus = Literal["draft", "active", "paused", "completed", "discontinued"]
ReviewCode = Literal["serious_adverse_event", "session_aborted"]
RemsStatus = Literal["not_enrolled", "pending", "enrolled", "disenrolled"]
RiskLevel = Literal["unassessed", "low", "moderate", "high"]


class _IntakeEvent(Event):
    SERVICE: ClassVar[str] = "intake"


class InquiryReceived(_IntakeEvent):
    inquiry_id: str
    channel: Literal["phone", "web_form", "email", "provider_referral"]
    self_referred: bool = True


class PatientRegistered(_IntakeEvent):
    patient_id: str
    inquiry_id: str | None = None
    birth_year: int
    time_zone: str


class PatientState(PatientRegistered):
    """The patient as it is now; told after a correction and by `republish`. An upsert without action."""


class TreatmentPlanActivated(_IntakeEvent):
    """Carries the whole plan: scheduling opens the course, monitoring expects the dose.

    `version` is the plan's. `review_codes` are findings that no prescriber has answered yet.
    """

    patient_id: str
    plan_id: str
    route: Route
    medication: str
    dose_mg_per_kg: float
    session_count: int
    min_gap_hours: int
    integration_after: bool
    protocol_version: str
    version: int
    sessions_done: int = 0
    state: PlanStatus = "active"
    reason_code: str | None = None
    review_codes: list[ReviewCode] = Field(default_factory=list)


class TreatmentPlanRevised(TreatmentPlanActivated):
    """Dose, number of sessions or what follows them have changed; the whole plan."""


class TreatmentPlanPaused(TreatmentPlanActivated):
    """No dose until it is resumed, by a person or after a serious adverse event; the whole plan."""


class TreatmentPlanResumed(TreatmentPlanActivated):
    """A prescriber has looked at what paused it; the whole plan."""


class TreatmentPlanCompleted(TreatmentPlanActivated):
    """The last session of the plan has taken place; the whole plan."""


class TreatmentPlanDiscontinued(TreatmentPlanActivated):
    """It has ended before its last session; the whole plan."""


class PlanState(TreatmentPlanActivated):
    """Any plan as it is now, drafts too; told after a review flag and by `republish`. An upsert without action."""


class Location(Part):
    id: str
    label: str
    rems_certified_until: datetime | None = None


class ClinicChanged(_IntakeEvent):
    """The whole profile; an upsert without action, so `republish` sends this type itself."""

    clinic_id: str
    locations: list[Location]
    services: list[str]
    languages: list[str]
    time_zone: str


class _ConsentEvent(_IntakeEvent):
    """The whole consent; `version` is that of the document which was signed."""

    patient_id: str
    consent_id: str
    document: str
    version: str
    signed_at: datetime
    valid_until: datetime | None = None
    state: Literal["signed", "revoked", "expired"]
    reason_code: str | None = None


class ConsentSigned(_ConsentEvent):
    """Signed by the patient or a representative."""


class ConsentRevoked(_ConsentEvent):
    """Withdrawn: no dose rests on it from now on."""


class ConsentExpired(_ConsentEvent):
    """Its `valid_until` has passed."""


class ConsentState(_ConsentEvent):
    """For `republish`: an upsert without action."""


class _EligibilityEvent(_IntakeEvent):
    """A patient's standing decision: the newest counts, for its route or, without one, for every route.

    The aggregate is the patient's eligibility, so `sequence` orders the decisions of a patient.
    """

    patient_id: str
    eligibility_id: str
    decision: Literal["approved", "declined", "deferred"]
    route: Route | None = None
    indication: str
    reason_codes: list[str]
    decided_at: datetime
    valid_until: datetime | None = None
    expired: bool = False


class EligibilityDetermined(_EligibilityEvent):
    """A prescriber has decided."""


class EligibilityExpired(_EligibilityEvent):
    """The `valid_until` of the standing decision has passed."""


class EligibilityState(_EligibilityEvent):
    """For `republish`: an upsert without action."""


class ClinicalSummaryChanged(_IntakeEvent):
    """The whole coded summary (`rxnorm:6130`); an upsert without action, so `republish` sends this type itself."""

    patient_id: str
    allergies: list[str]
    medications: list[str]
    problems: list[str]
    reconciled_at: datetime


class RemsEnrolmentChanged(_IntakeEvent):
    """The whole enrolment; an upsert without action, so `republish` sends this type itself."""

    patient_id: str
    status: RemsStatus
    valid_until: datetime | None = None


class _RiskEvent(_IntakeEvent):
    """The patient's suicide risk as it stands: dosing is held while `flagged`."""

    patient_id: str
    flagged: bool
    instrument: str
    item: int | None = None
    level: RiskLevel
    assessment_due_at: datetime | None = None
    at: datetime


class SuicideRiskFlagged(_RiskEvent):
    """Alarm lane: `high` pages whoever is on call now."""

    LANE: ClassVar[Lane] = "alarm"


class SuicideRiskCleared(_RiskEvent):
    """Alarm lane, so that it stays behind the flag it clears."""

    LANE: ClassVar[Lane] = "alarm"


class RiskState(_RiskEvent):
    """For `republish`, on the bulk lane: an upsert without action."""


class InquiryErased(_IntakeEvent):
    inquiry_id: str


class ContactRecord(_IntakeEvent):
    """Restricted topic, compacted, `sealed` encrypted with the transport key; the highest version wins."""

    subject_id: str
    version: int
    sealed: str = Field(description="base64 of the transport ciphertext")
    at: datetime


class PatientErased(_IntakeEvent):
    patient_id: str


class ServiceTroubleRaised(_IntakeEvent, common.ServiceTroubleRaised):
    """See common."""


class ServiceTroubleCleared(_IntakeEvent, common.ServiceTroubleCleared):
    """See common."""


class AlarmContentRefused(_IntakeEvent, common.AlarmContentRefused):
    """See common."""

    LANE: ClassVar[Lane] = "alarm"
