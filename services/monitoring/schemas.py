"""HTTP bodies of monitoring."""

from typing import Annotated, Any, Literal

from pydantic import Field

from services.monitoring.vitals import SIGNS
from shared.web.schemas import Body, Id, Instant, ShortText

Score = Annotated[int, Field(ge=0, le=10)]
Pressure = Annotated[float, Field(ge=0, le=400)]
Loinc = Literal["8480-6", "8462-4", "8867-4", "59408-5", "9279-1"]
assert set(Loinc.__args__) == set(SIGNS)  # type: ignore[attr-defined]  # noqa: S101 - one list, two uses


class Staff(Body):
    role: Literal["nurse", "prescriber", "clinician"]
    staff_id: ShortText


class NewSession(Body):
    """An unscheduled session: works without any event having arrived."""

    patient_id: Id
    plan_id: Id | None = None


class Readiness(Body):
    fasting: bool
    escort_named: bool
    well_today: bool


class CheckIn(Body):
    identity_confirmed: Literal[True]
    display_label: Annotated[str, Field(min_length=1, max_length=4)]
    room: ShortText
    chair: ShortText
    responsible_staff: Annotated[list[Staff], Field(min_length=1, max_length=10)]
    readiness: Readiness


class Baseline(Body):
    systolic: Pressure
    diastolic: Pressure
    heart_rate: Annotated[float, Field(ge=0, le=300)]
    spo2: Annotated[float, Field(ge=0, le=100)]
    weight_kg: Annotated[float, Field(ge=25, le=350)]


class Dose(Body):
    medication: Literal["ketamine"]
    amount_mg: Annotated[float, Field(gt=0, le=1000)]
    lot: ShortText
    expiry: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")]


class Reading(Body):
    sign: Loinc
    value: Annotated[float, Field(ge=-1000, le=100000)]
    unit: ShortText
    taken_at: Instant
    device: ShortText = "manual"


class Readings(Body):
    readings: Annotated[list[Reading], Field(min_length=1, max_length=1000)]


class ReadingResult(Body):
    id: str
    result: Literal["stored", "duplicate", "quarantined"]
    reason: str | None = None


class ReadingResults(Body):
    results: list[ReadingResult]


class AlarmAction(Body):
    alarm_id: Id


class Alarm(Body):
    id: Id
    session_id: Id
    rule: str
    sign: str
    value: float
    priority: Literal["high", "medium", "low"]
    open: bool
    raised_at: Instant
    acknowledged_at: Instant | None = None
    attended_at: Instant | None = None
    cleared_at: Instant | None = None
    escalation_step: int | None = None


class Discharge(Body):
    aldrete: Score
    moaas: Annotated[int, Field(ge=0, le=5)]
    dissociation_resolved: bool
    escort_confirmed: bool


class Session(Body):
    id: Id
    patient_id: Id
    appointment_id: Id | None = None
    plan_id: Id | None = None
    sequence_no: int | None = None
    state: str
    room: str | None = None
    chair: str | None = None
    protocol_version: str
    doses: list[dict[str, Any]]
    alarm_count: int
    version: int
