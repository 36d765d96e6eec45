"""HTTP bodies of monitoring."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, model_validator

from services.monitoring.protocol import Kind
from services.monitoring.vitals import BY_NAME, DIASTOLIC, SIGNS, SYSTOLIC
from shared.web.schemas import Body, Id, Instant, ShortText

Seconds = Annotated[float, Field(gt=0, le=3600)]
Milligrams = Annotated[float, Field(gt=0, le=1000)]
Rate = Annotated[float, Field(ge=0, le=1000)]
Expiry = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Medication = Literal["ketamine", "esketamine"]
Route = Literal["iv", "im", "sublingual", "esketamine_nasal"]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Note = Annotated[str, Field(min_length=1, max_length=4000)]
DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Loinc = Literal["8480-6", "8462-4", "8867-4", "59408-5", "9279-1", "8310-5", "19891-1", "72514-3"]
assert set(Loinc.__args__) == set(SIGNS)  # type: ignore[attr-defined]  # noqa: S101 - one list, two uses
EventCode = Literal[
    "hypertension",
    "hypotension",
    "tachycardia",
    "bradycardia",
    "desaturation",
    "respiratory_depression",
    "sedation",
    "dissociation",
    "hallucination",
    "delirium",
    "agitation",
    "anxiety",
    "nausea",
    "vomiting",
    "dizziness",
    "blurred_vision",
    "headache",
    "syncope",
    "seizure",
    "allergic_reaction",
    "extravasation",
    "bladder_symptom",
    "mood_worsening",
    "suicidal_ideation",
    "mania_switch",
    "other",
]


def _within(loinc: str, usual: float) -> Any:
    """The bounds of clinical.md 3.1 with section 10; `usual` is the document's example."""
    return Field(ge=SIGNS[loinc].lowest, le=SIGNS[loinc].highest, examples=[usual])


class Moment(Body):
    """`occurred_at` stands beside the time of recording; without it, or where it lies in the future, the two are the same."""

    occurred_at: Instant | None = None


class Staff(Body):
    role: Literal["nurse", "prescriber", "clinician"]
    staff_id: ShortText


class NewSession(Body):
    """An unscheduled session: works without any event having arrived. A group has participants instead of a patient."""

    kind: Kind = "dosing"
    patient_id: Id | None = None
    plan_id: Id | None = None
    location_id: Id | None = None
    route: Route | None = None

    @model_validator(mode="after")
    def _of_a_patient_or_a_group(self) -> "NewSession":
        if self.patient_id is None and self.kind != "group":
            raise ValueError("a session of this kind needs patient_id")
        if self.patient_id is None and self.plan_id is not None:
            raise ValueError("a plan belongs to a participant")
        return self


class LastIntake(Body):
    """When the patient last had what; whatever is no clear liquid is a meal. A time of the future is now."""

    clear_liquids: Instant | None = None
    light_meal: Instant | None = None
    fatty_meal: Instant | None = None


class Readiness(Body):
    """`last_intake`: the gate judges its times at the dose by the hours of the route; without them `fasting` counts.

    `escort_reachable`: was spoken to or answered; `medication_changes`: there are some that nobody has reviewed.
    """

    fasting: bool
    last_intake: LastIntake | None = None
    escort_named: bool
    well_today: bool
    escort_reachable: bool | None = None
    medication_changes: bool | None = None
    pregnancy_test: Literal["negative", "positive", "not_applicable"] | None = None


class CheckIn(Moment):
    """`identity_confirmed` against the patient's own statement.

    `intention` of the session is kept encrypted; it is shown with the session and its timeline, never on the board.
    `monitor` and `pump` that are not named are those of `/assignments` before, where no other open session has them.
    """

    identity_confirmed: Literal[True]
    display_label: Annotated[str, Field(min_length=1, max_length=4)]
    room: ShortText
    chair: ShortText
    monitor: DeviceName | None = None
    pump: DeviceName | None = None
    responsible_staff: Annotated[list[Staff], Field(min_length=1, max_length=10)]
    readiness: Readiness | None = None
    intention: Note | None = None


class Assignment(Moment):
    """`monitor` and `pump` name devices; one that another open session has moves here, with a trail in both.

    `null` takes away the one that stands here; what is not named stays. What is named before check-in is the session's from
    then on: readings by device find it no sooner.
    """

    room: ShortText | None = None
    chair: ShortText | None = None
    monitor: DeviceName | None = None
    pump: DeviceName | None = None
    responsible_staff: Annotated[list[Staff], Field(min_length=1, max_length=10)] | None = None


class Baseline(Moment):
    """Pressures in mm[Hg], heart rate and respiratory rate per minute, SpO2 in %, weight in kg.

    `moaas` and `cadss6` are what sedation and dissociation are compared with; `suicidal_ideation` answers the question.
    `weight_confirmed`: it is right, although it differs from the last known one.
    `spo2_scale`: the one of NEWS2; 2 is for hypercapnic patients with a target of 88-92 %.
    """

    systolic: Annotated[float, _within(SYSTOLIC, 120)]
    diastolic: Annotated[float, _within(DIASTOLIC, 80)]
    heart_rate: Annotated[float, _within(BY_NAME["heart_rate"].loinc, 70)]
    spo2: Annotated[float, _within(BY_NAME["spo2"].loinc, 98)]
    respiratory_rate: Annotated[float, _within(BY_NAME["respiratory_rate"].loinc, 14)] | None = None
    weight_kg: Annotated[float, Field(ge=25, le=350)]
    weighed_on: date | None = None
    weight_basis: Literal["actual", "ideal"] = "actual"
    weight_confirmed: bool | None = None
    moaas: Annotated[int, Field(ge=0, le=5)] | None = None
    cadss6: Annotated[int, Field(ge=0, le=24)] | None = None
    suicidal_ideation: bool | None = None
    spo2_scale: Literal[1, 2] = 1

    @model_validator(mode="after")
    def _diastolic_below_systolic(self) -> "Baseline":
        if self.diastolic >= self.systolic > 0:
            raise ValueError("diastolic is not below systolic")
        return self


class Dose(Moment):
    """One dose, or one device; into a vein or with `rate_mg_per_h` an infusion starts, which runs until /dose/stop.

    Of one without a rate, as of a push, recovery begins by itself; when it ended is told by /dose/stop all the same.
    `prescriber_on_site` is in the staff directory.
    """

    medication: Medication
    amount_mg: Milligrams
    lot: ShortText
    expiry: Expiry
    rate_mg_per_h: Rate | None = None
    checked_by: ShortText | None = None
    prescriber_on_site: ShortText | None = None
    override_reason: Code | None = None


class Infusion(Moment):
    """`given_mg`: how much had run in by then."""

    rate_mg_per_h: Rate | None = None
    given_mg: Annotated[float, Field(ge=0, le=1000)] | None = None


class Abort(Moment):
    reason_code: Code


def _at_once(text: object, slowly: Callable[[object], datetime]) -> datetime:
    """As nearly every device says it, without the way that everything else takes."""
    usual = isinstance(text, str) and len(text) == _USUAL_LENGTH  # what is remembered is short
    return (_usual_time(text) if usual else None) or slowly(text)


@lru_cache(maxsize=1024)
def _usual_time(text: str) -> datetime | None:
    """Of `2026-01-01T10:00:00.000Z`; the signs of one moment come together."""
    if _USUAL.fullmatch(text):
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    return None


_USUAL_LENGTH = len("2026-01-01T10:00:00.000Z")
_USUAL = re.compile(r"(?:19|20|21)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", re.ASCII)
Taken = Annotated[Instant, WrapValidator(_at_once)]
Unit = Annotated[str, Field(pattern=r"^[!-~µ°]{1,40}$")]


class Reading(Body):
    sign: Loinc
    value: Annotated[float, Field(ge=-1000, le=100000)]
    unit: Unit
    taken_at: Taken
    device: DeviceName = "manual"


class Delivered(Body):
    """`interval_s`: how often the device measures; it is missed when it keeps silent for ten times as long."""

    readings: Sequence[Reading]
    interval_s: Seconds | None = None


class Readings(Delivered):
    """Readings of one session."""

    readings: Annotated[list[Reading], Field(min_length=1, max_length=1000)]


class DeviceReading(Reading):
    """Without a session it belongs to the open session that the device is assigned to."""

    session_id: Id | None = None


class DeviceReadings(Delivered):
    """Readings of several sessions in one request, for gateways."""

    readings: Annotated[list[DeviceReading], Field(min_length=1, max_length=1000)]


class ReadingResult(Body):
    """`wanted`: measure again, or say that the value is right. As an answer to lines it has its `line` too, from 1."""

    id: str
    result: Literal["stored", "duplicate", "quarantined", "refused"]
    reason: str | None = None
    wanted: Literal["remeasure", "confirm"] | None = None


class ReadingResults(Body):
    results: list[ReadingResult]


class ReadingShown(Body):
    id: str
    sign: Loinc
    value: float
    unit: str
    device: str
    taken_at: Instant
    received_at: Instant
    quarantined: str | None = None
    conflict: bool | None = None
    after_end: bool | None = None
    late: bool | None = None
    clock_off_s: float | None = None
    flags: list[Literal["confirm", "swapped", "jump", "flat"]] | None = None
    decision: Literal["confirmed", "artefact"] | None = None
    moved_from: Id | None = None


class Decision(Moment):
    """What a human says of a reading; the reason is a code."""

    reason_code: Code | None = None


class ReadingMove(Moment):
    """The session of the patient from whom the reading was taken."""

    to_session_id: Id
    reason_code: Code


class Mute(Moment):
    seconds: Annotated[int, Field(ge=1, le=120)] = 120


class Suppression(Moment):
    """At most 60 minutes for low, 15 for medium and 3 for high priority; a collapse is never suppressed."""

    minutes: Annotated[int, Field(ge=1, le=60)]
    reason_code: Code


class OwnLimit(Body):
    """`bound` in the unit of the rule's sign, also for a rule that is relative to the baseline."""

    rule: Code
    bound: Annotated[float, Field(ge=0, le=400)]


class OwnLimits(Moment):
    """The whole set of this session's own limits; an empty one is the protocol's again."""

    limits: Annotated[list[OwnLimit], Field(max_length=50)]
    reason_code: Code


class Alarm(Body):
    """`..._at` is the time of recording; `..._occurred_at` stands beside it where another was told."""

    id: Id
    session_id: Id
    rule: str
    sign: str | None = None
    value: float | None = None
    limit: float | None = None
    priority: Literal["high", "medium", "low"]
    open: bool
    raised_at: Instant
    acknowledged_at: Instant | None = None
    acknowledged_occurred_at: Instant | None = None
    acknowledged_by: str | None = None
    acknowledged_by_role: str | None = None
    seconds_to_acknowledge: float | None = None
    attended_at: Instant | None = None
    attended_occurred_at: Instant | None = None
    attended_by: str | None = None
    seconds_to_attend: float | None = None
    escalated_at: Instant | None = None
    escalated_occurred_at: Instant | None = None
    escalated_by: str | None = None
    renewed_at: Instant | None = None
    silenced_until: Instant | None = None
    silenced_occurred_at: Instant | None = None
    silenced_by: str | None = None
    suppressed_until: Instant | None = None
    suppressed_occurred_at: Instant | None = None
    suppressed_by: str | None = None
    suppressed_reason: str | None = None
    cleared_at: Instant | None = None
    escalation_step: int | None = None
    category: Literal["physiological", "technical"] | None = None
    offset_s: float | None = None


class GateReason(Body):
    code: str
    kind: Literal["absolute", "overridable", "note"]
    detail: str


class GateShown(Body):
    """`as_of` by source: when everything that it had told was known here; null when that was never so."""

    open: bool
    reasons: list[GateReason]
    overridden: list[str] = Field(default_factory=list)
    as_of: dict[str, Instant | None] = Field(default_factory=dict)
    expires_at: Instant | None = None


class Session(Body):
    """`intention`: in the answer to GET of one session, for clinical staff."""

    id: Id
    patient_id: Id
    kind: Kind
    group_id: Id | None = None
    appointment_id: Id | None = None
    plan_id: Id | None = None
    location_id: Id | None = None
    sequence_no: int | None = None
    state: str
    aborted: bool
    room: str | None = None
    chair: str | None = None
    protocol_version: str
    doses: list[dict[str, Any]]
    disposition: dict[str, Any] | None = None
    intention: str | None = None
    own_limits: dict[str, float] | None = None
    version: int
