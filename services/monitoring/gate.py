"""The dose gate: every reason against a dose with its class, never only the first (clinical.md 3.3, 5, 10). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.protocols import Protocol

Class = Literal["absolute", "overridable", "note"]
PLAN_TOLERANCE = 1.1


class GateRules(Protocol):
    max_systolic: float
    max_diastolic: float
    min_gap_hours: float
    valid_minutes: float


@dataclass(frozen=True)
class Reason:
    code: str
    kind: Class
    detail: str


@dataclass(frozen=True)
class Found:
    """What is known when the gate is judged; pressures in mm[Hg], the dose in mg/kg (None before it is known).

    `plan` and `facts` are projections: None or empty when nothing was heard.
    """

    now: datetime
    baseline: Mapping[str, Any] | None
    baseline_at: datetime | None
    readiness: Mapping[str, bool] | None
    planned: bool
    plan: Mapping[str, Any] | None
    last_dose_at: datetime | None
    mg_per_kg: float | None
    ceiling_mg_per_kg: float
    first_dose: bool


def reasons(rules: GateRules, found: Found) -> list[Reason]:
    """Every reason against the dose; none when the gate is open."""
    checks = (_baseline(rules, found), _pressure(rules, found), _plan(found), _readiness(found), _dose(rules, found))
    return [reason for check in checks for reason in check]


def closed(found: list[Reason]) -> bool:
    return any(reason.kind != "note" for reason in found)


def _baseline(rules: GateRules, found: Found) -> list[Reason]:
    if found.baseline is None or found.baseline_at is None:
        return [Reason("no_baseline", "absolute", "No baseline was taken.")]
    old = found.now - found.baseline_at > timedelta(minutes=rules.valid_minutes)
    text = f"The baseline is older than {rules.valid_minutes:g} minutes."
    return [Reason("baseline_expired", "overridable", text)] if old and found.first_dose else []


def _pressure(rules: GateRules, found: Found) -> list[Reason]:
    base = found.baseline
    if base is None or (base["systolic"] <= rules.max_systolic and base["diastolic"] <= rules.max_diastolic):
        return []
    text = f"The baseline blood pressure is above {rules.max_systolic:g}/{rules.max_diastolic:g} mm[Hg]."
    return [Reason("blood_pressure", "overridable", text)]


def _plan(found: Found) -> list[Reason]:
    if not found.planned:
        return [Reason("no_plan", "note", "The session belongs to no treatment plan.")]
    if found.plan is None:
        return [Reason("plan_unknown", "overridable", "No active treatment plan is known here.")]
    if found.plan.get("state", "active") != "active":
        return [Reason("plan_not_active", "absolute", "The treatment plan is paused or has ended.")]
    return []


def _readiness(found: Found) -> list[Reason]:
    ready = found.readiness
    if ready is None:
        return [Reason("readiness_missing", "overridable", "Readiness was not recorded at check-in.")]
    texts = {
        "fasting": ("not_fasting", "The patient has not fasted."),
        "escort_named": ("no_escort", "No escort is named."),
        "well_today": ("not_well", "The patient is not well today."),
    }
    return [Reason(code, "overridable", text) for name, (code, text) in texts.items() if not ready[name]]


def _dose(rules: GateRules, found: Found) -> list[Reason]:
    list_: list[Reason] = []
    if found.first_dose and found.last_dose_at is not None:
        gap = found.now - found.last_dose_at
        if gap < timedelta(hours=rules.min_gap_hours):
            text = f"The last dose was given less than {rules.min_gap_hours:g} hours ago."
            list_.append(Reason("minimum_gap", "overridable", text))
    dose = found.mg_per_kg
    if dose is not None and dose > found.ceiling_mg_per_kg:
        text = f"The dose is above the ceiling of {found.ceiling_mg_per_kg:g} mg/kg."
        list_.append(Reason("above_ceiling", "absolute", text))
    if dose is not None and found.plan and dose > found.plan["dose_mg_per_kg"] * PLAN_TOLERANCE:
        list_.append(Reason("above_plan", "overridable", "The dose is more than 10 % above the plan."))
    return list_
