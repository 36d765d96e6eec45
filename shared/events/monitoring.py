"""What monitoring tells the others. Alarms have a lane of their own: nothing queues before a page."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from shared.events import common
from shared.events.envelope import Event, Lane, Part

Priority = Literal["high", "medium", "low"]
SessionKind = Literal["dosing", "preparation", "integration", "group", "wellness"]
Disposition = Literal["escort", "against_advice", "left_unseen", "transferred", "died"]
WITHOUT_DOSE: tuple[SessionKind, ...] = ("preparation", "integration", "wellness")


class _MonitoringEvent(Event):
    SERVICE: ClassVar[str] = "monitoring"


class _AlarmEvent(_MonitoringEvent):
    LANE: ClassVar[Lane] = "alarm"


class _AlarmAnswered(_AlarmEvent):
    """`at` is the time of recording, by which paging goes; `occurred_at` where another was told."""

    patient_id: str
    alarm_id: str
    by_role: str
    at: datetime
    occurred_at: datetime | None = None


class StaffRef(Part):
    role: str
    staff_id: str


class SignRef(Part):
    """One sign of an alarm: LOINC code, value, UCUM unit and the limit that it broke."""

    sign: str
    value: float
    unit: str
    limit: float


class Criterion(Part):
    criterion: str
    met: bool


class SessionCheckedIn(_MonitoringEvent):
    patient_id: str
    session_id: str
    appointment_id: str | None = None
    room: str
    chair: str
    responsible_staff: list[StaffRef]
    kind: SessionKind | None = None
    protocol_version: str | None = None


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
    device_no: int | None = None


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


class AlarmAcknowledged(_AlarmAnswered):
    """Somebody has seen it and is going."""


class AlarmAttended(_AlarmAnswered):
    """Somebody is at the chair."""


class AlarmCleared(_AlarmEvent):
    patient_id: str
    alarm_id: str
    at: datetime
    value: float


class PatientDischarged(_MonitoringEvent):
    patient_id: str
    session_id: str
    at: datetime
    disposition: Disposition
    minutes_from_last_dose: int
    criteria: list[Criterion]
    escort_confirmed: bool
    signed_by_role: str | None = None
    override_code: str | None = None


class SessionCompleted(_MonitoringEvent):
    """`outcome_code` is `aborted` too where nobody was dosed who came for it, and after a death.

    `disposition` is how the patient left, where that was told.
    """

    patient_id: str
    session_id: str
    appointment_id: str | None = None
    plan_id: str | None = None
    sequence_no: int | None = None
    duration_min: int
    dose_total_mg: float
    alarm_count: int
    adverse_event_count: int = 0
    outcome_code: Literal["completed", "aborted"]
    kind: SessionKind | None = None
    disposition: Disposition | None = None


class SessionReassigned(SessionCheckedIn):
    """The whole assignment as it is now."""


class AlarmEscalated(_AlarmEvent):
    """Priority raised, or a person asked for help: an acceptance from before `at` stands no more.

    Steps by time belong to notifications.
    """

    patient_id: str
    alarm_id: str
    by_role: str | None = None
    priority: Priority = "high"
    at: datetime
    occurred_at: datetime | None = None


class AlarmRenewed(_AlarmEvent):
    """Acknowledged and still true: paging starts anew."""

    patient_id: str
    alarm_id: str
    at: datetime
    signs: list[SignRef]


class SignalLost(_AlarmEvent):
    """A device is silent. `source` names the kind of device or sign, never a serial number of a person's device."""

    patient_id: str
    alarm_id: str
    session_id: str
    priority: Priority
    source: str
    last_seen_at: datetime


class SignalRestored(SignalLost):
    """`last_seen_at` is the reading that restored it."""


class EmergencyCalled(_AlarmEvent):
    """Of a whole group `session_id` and `patient_id` are the group's, room and chair those of whoever is there."""

    patient_id: str
    session_id: str
    room: str
    chair: str
    code: str
    by_role: str
    at: datetime


class EmergencyEnded(_AlarmEvent):
    patient_id: str
    session_id: str
    by_role: str
    at: datetime


class _SessionEvent(_MonitoringEvent):
    patient_id: str
    session_id: str


class DoseGateRefused(_SessionEvent):
    """Every reason code for which the gate stayed closed."""

    reasons: list[str]
    at: datetime


class DoseGateOverridden(DoseGateRefused):
    """A prescriber gave the dose all the same; `reason_code` says why."""

    by_role: str
    reason_code: str


class DosePaused(_SessionEvent):
    at: datetime


class DoseResumed(_SessionEvent):
    at: datetime


class DoseStopped(_SessionEvent):
    at: datetime


class DoseCorrected(_SessionEvent):
    """How a dose is known now; not `given` means that this patient never had it.

    `at` is when it was given. `moved_at`: of one that was another patient's, when it was moved, as whoever moved it told.
    """

    entry_id: str
    medication: str
    route: str
    amount: float
    unit: Literal["mg"] = "mg"
    mg_per_kg: float | None = None
    lot: str
    expiry: str
    at: datetime
    given: bool
    reason_code: str
    moved_at: datetime | None = None


class AdverseEventReported(_SessionEvent):
    """Codes of clinical.md section 10; serious in the sense of section 6."""

    event_code: str
    severity: Literal["mild", "moderate", "severe"]
    serious: bool
    onset_at: datetime
    resolved_at: datetime | None = None


class InterventionRecorded(_SessionEvent):
    intervention_code: str
    at: datetime


class SessionAborted(_SessionEvent):
    """`phase` as it was: before a dose nothing follows, after one the watching goes on."""

    appointment_id: str | None = None
    plan_id: str | None = None
    reason_code: str
    phase: Literal["baseline", "dosing", "recovery"]
    kind: SessionKind | None = None


class SessionState(_SessionEvent):
    """The present state: when recovery begins, when the session is voided, for `republish`. Applied without actions."""

    appointment_id: str | None = None
    plan_id: str | None = None
    state: str
    room: str | None = None
    chair: str | None = None
    responsible_staff: list[StaffRef]


class EvaluatedSession(Part):
    session_id: str
    last_evaluated_at: datetime


class UnrecordedAlarm(Part):
    session_id: str
    rule: str
    priority: Priority
    since: datetime


class EvaluatorBeat(_MonitoringEvent):
    """Beats topic, beside the outbox (ADR 4): one per process and clinic every 5 s. All times are real time.

    `unsent_since`: alarms were recorded and have waited for the relay since then, so nobody is paged for them.
    """

    evaluator: str
    at: datetime
    store: Literal["ok", "gone"]
    sessions: list[EvaluatedSession]
    unrecorded: list[UnrecordedAlarm] = Field(default_factory=list)
    ended: list[str] = Field(default_factory=list)
    unsent_since: datetime | None = None


class ServiceTroubleRaised(_MonitoringEvent, common.ServiceTroubleRaised):
    """See common."""


class ServiceTroubleCleared(_MonitoringEvent, common.ServiceTroubleCleared):
    """See common."""


class AlarmContentRefused(_AlarmEvent, common.AlarmContentRefused):
    """See common."""
