"""What intake tells the others."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from shared.events import common
from shared.events.envelope import Event


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


class TreatmentPlanActivated(_IntakeEvent):
    """Carries the whole plan: scheduling opens the course, monitoring expects the dose."""

    patient_id: str
    plan_id: str
    route: Literal["iv", "im", "sublingual", "esketamine_nasal"]
    medication: str
    dose_mg_per_kg: float
    session_count: int
    min_gap_hours: int
    integration_after: bool
    protocol_version: str
    version: int


class TreatmentPlanCompleted(_IntakeEvent):
    patient_id: str
    plan_id: str
    sessions_done: int


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
