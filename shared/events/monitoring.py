"""What monitoring tells the others. Alarms have a lane of their own: nothing queues before a page."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from shared.events.envelope import Event, Lane

Priority = Literal["high", "medium", "low"]


class _MonitoringEvent(Event):
    SERVICE: ClassVar[str] = "monitoring"


class _AlarmEvent(_MonitoringEvent):
    LANE: ClassVar[Lane] = "alarm"


class StaffRef(BaseModel):
    model_config = ConfigDict(frozen=True)

    role: str
    staff_id: str


class SignRef(BaseModel):
    """One sign of an alarm: LOINC code, value, UCUM unit and the limit that it broke."""

    model_config = ConfigDict(frozen=True)

    sign: str
    value: float
    unit: str
    limit: float


class Criterion(BaseModel):
    model_config = ConfigDict(frozen=True)

    criterion: str
    met: bool


class SessionCheckedIn(_MonitoringEvent):
    patient_id: str
    session_id: str
    appointment_id: str | None = None
    room: str
    chair: str
    responsible_staff: list[StaffRef]


class SessionStarted(_MonitoringEvent):
    patient_id: str
    session_id: str
    appointment_id: str | None = None
    started_at: datetime


class DoseAdministered(_MonitoringEvent):
    patient_id: str
    session_id: str
    medication: str
    route: str
    amount: float
    unit: Literal["mg"]
    mg_per_kg: float
    lot: str
    expiry: str
    at: datetime


class VitalsAbnormal(_AlarmEvent):
    patient_id: str
    alarm_id: str
    session_id: str
    room: str
    chair: str
    responsible_staff: list[StaffRef]
    signs: list[SignRef]
    rule: str
    category: Literal["physiological", "technical"]
    priority: Priority
    taken_at: datetime
    raised_at: datetime


class AlarmAcknowledged(_AlarmEvent):
    patient_id: str
    alarm_id: str
    by_role: str
    at: datetime


class AlarmAttended(_AlarmEvent):
    patient_id: str
    alarm_id: str
    by_role: str
    at: datetime


class AlarmCleared(_AlarmEvent):
    patient_id: str
    alarm_id: str
    at: datetime
    value: float


class PatientDischarged(_MonitoringEvent):
    patient_id: str
    session_id: str
    at: datetime
    disposition: Literal["escort", "against_advice", "left_unseen", "transferred", "died"]
    minutes_from_last_dose: int
    criteria: list[Criterion]
    escort_confirmed: bool


class SessionCompleted(_MonitoringEvent):
    patient_id: str
    session_id: str
    appointment_id: str | None = None
    plan_id: str | None = None
    sequence_no: int | None = None
    duration_min: int
    dose_total_mg: float
    alarm_count: int
    outcome_code: Literal["completed", "aborted"]
