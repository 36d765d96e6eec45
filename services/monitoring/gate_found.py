"""What the dose gate is judged on: its rules, what was found, and the reasons it answers with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from services.monitoring.medicines import Medicines
from shared.protocols import Protocol

Class = Literal["absolute", "overridable", "note"]
Hours = Annotated[float, Field(ge=0, le=48)]
Check = Literal["fasting", "escort_named", "escort_reachable", "well_today"]


class Devices(Protocol):
    """A spray that comes in devices: what one holds, how many a session may use, and the pause between two."""

    mg: float
    most: int
    gap_minutes: float


class Fasting(Protocol):
    """Hours between the last of a kind of intake and the dose (clinical.md 5)."""

    clear_liquids: Hours
    light_meal: Hours
    fatty_meal: Hours

    @model_validator(mode="after")
    def _more_waits_longer(self) -> Self:
        if not self.clear_liquids <= self.light_meal <= self.fatty_meal:
            raise ValueError("clear_liquids waits no longer than light_meal, and that no longer than fatty_meal")
        return self


class GateRules(Protocol):
    """A protocol's `gate`; pressures in mm[Hg]. `rems`: certified site, enrolled patient, prescriber and oximeter.

    An override of the blood pressure holds until it is worse by more than `override_margin` than it was then (OWN).
    `max_weight_change_percent`: beyond it the weight is confirmed, for mg/kg rests on it (OWN, clinical.md 3.1).
    `fasting_hours`: without them, in what was signed before there were any, only whether the patient has fasted counts.
    Above `max_` a prescriber decides; above `absolute_` nobody does (SINT, clinical.md 3.3, 4.1), whether or not a
    clinic's own version says so.
    """

    max_systolic: float
    max_diastolic: float
    absolute_systolic: float = 180
    absolute_diastolic: float = 100
    override_margin: float = Field(default=10, ge=0)
    max_weight_change_percent: float = Field(default=10, gt=0)
    min_gap_hours: float
    valid_minutes: float
    max_projection_age_s: float
    consents: tuple[str, ...]
    readiness: tuple[Check, ...]
    fasting_hours: Fasting | None = None
    pregnancy_test: bool
    rems: bool
    two_person_check: bool


@dataclass(frozen=True)
class Reason:
    code: str
    kind: Class
    detail: str


@dataclass(frozen=True)
class Ceiling:
    """The most that one session may give: mg per kg of body weight, and mg where the label says so."""

    mg_per_kg: float
    mg: float | None = None
    devices: Devices | None = None


@dataclass(frozen=True)
class Proposed:
    """The dose that is about to be given, by `by`; amounts in mg. `expiry` is "2028-01", good to the end of the month.

    `at`: when it was given, where it is written down afterwards.
    """

    medication: str
    amount_mg: float
    expiry: str
    by: str
    checked_by: str | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Pressure:
    """In mm[Hg]; `at` is when the older of the two was measured."""

    systolic: float
    diastolic: float
    at: datetime


@dataclass(frozen=True)
class Given:
    """What the session has given so far, in mg."""

    total_mg: float = 0
    devices: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True)
class Known:
    """What others told of the patient, the place and the people: projections, None or empty when nothing was heard.

    `plan` is the session's, `plans` are all of the patient where the session names none; `checker` is the dose's second
    person. `as_of`: by source, in real time, when its consumer had last read everything; None when that was never so.
    """

    plan: Mapping[str, Any] | None = None
    plans: Sequence[Mapping[str, Any]] = ()
    consents: Sequence[Mapping[str, Any]] = ()
    eligibility: Mapping[str, Any] | None = None
    risk: Mapping[str, Any] | None = None
    rems: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None
    location: Mapping[str, Any] | None = None
    prescriber: Mapping[str, Any] | None = None
    checker: Mapping[str, Any] | None = None
    as_of: Mapping[str, datetime | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """Everything at the moment of judging: `now` is clinical, `real_now` real time.

    `dose` is None before it is known. `last_weight_kg` is that of the patient's session before, None without one.
    `pressure` is the newest that is believed, `antihypertensive_at` the newest one
    given, `oximeter_at` the newest SpO2 that a device measured, `prescriber_on_site` who was named.
    """

    now: datetime
    real_now: datetime
    patient_id: str
    route: str
    medication: str
    baseline: Mapping[str, Any] | None
    baseline_at: datetime | None
    readiness: Mapping[str, Any] | None
    planned: bool
    last_dose_at: datetime | None
    ceiling: Ceiling
    medicines: Medicines
    known: Known = field(default_factory=Known)
    given: Given = field(default_factory=Given)
    dose: Proposed | None = None
    last_weight_kg: float | None = None
    pressure: Pressure | None = None
    antihypertensive_at: datetime | None = None
    oximeter_at: datetime | None = None
    prescriber_on_site: str | None = None

    @property
    def dose_at(self) -> datetime:
        """When the dose is given: two that are written down together were not given together, and none is later than now."""
        given_at = self.dose.at if self.dose else None
        return self.now if given_at is None else min(given_at, self.now)
