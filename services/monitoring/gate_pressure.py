"""Blood pressure at the dose gate: which one counts, how old it may be, how high (clinical.md 3.3, 4.1, 10). Pure."""

from collections.abc import Mapping
from datetime import timedelta

from services.monitoring.gate_found import Found, GateRules, Pressure, Reason


def standing(found: Found) -> Pressure | None:
    """Before the first dose the baseline, raised to the newest reading where that is worse; after it the newest reading.

    No baseline is taken once a dose was given, and the drug itself raises the pressure.
    """
    base, newest = _baseline(found), found.pressure
    if base is None or newest is None:
        return base
    if found.given.devices:
        return newest
    return Pressure(max(base.systolic, newest.systolic), max(base.diastolic, newest.diastolic), base.at)


def _baseline(found: Found) -> Pressure | None:
    base, at = found.baseline, found.baseline_at
    return None if base is None or at is None else Pressure(base["systolic"], base["diastolic"], at)


def reasons(rules: GateRules, found: Found) -> list[Reason]:
    """Of a session with a baseline; without one the gate is closed by that."""
    pressure = standing(found)
    return [] if pressure is None else _age(rules, found, pressure) + _height(rules, pressure)


def _age(rules: GateRules, found: Found, pressure: Pressure) -> list[Reason]:
    treated, dosed = found.antihypertensive_at, bool(found.given.devices)
    if treated is not None and treated >= pressure.at:
        what = "measure the blood pressure again" if dosed else "take the baseline again"
        return [Reason("remeasurement_due", "overridable", f"An antihypertensive was given: {what}.")]
    if found.now - pressure.at <= timedelta(minutes=rules.valid_minutes):
        return []
    if dosed:
        text = f"The last blood pressure is older than {rules.valid_minutes:g} minutes."
        return [Reason("pressure_expired", "overridable", text)]
    text = f"The baseline is older than {rules.valid_minutes:g} minutes."
    return [Reason("baseline_expired", "overridable", text)]


def _height(rules: GateRules, pressure: Pressure) -> list[Reason]:
    if _above(pressure, rules.absolute_systolic, rules.absolute_diastolic):
        text = f"The blood pressure is above {rules.absolute_systolic:g}/{rules.absolute_diastolic:g} mm[Hg]."
        return [Reason("blood_pressure_contraindicated", "absolute", text)]
    if _above(pressure, rules.max_systolic, rules.max_diastolic):
        text = f"The blood pressure is above {rules.max_systolic:g}/{rules.max_diastolic:g} mm[Hg]."
        return [Reason("blood_pressure", "overridable", text)]
    return []


def outgrown(rules: GateRules, answered: Mapping[str, float] | None, pressure: Pressure | None) -> bool:
    """Whether the pressure is another than the one that a prescriber `answered` for; one of before keeps none."""
    if answered is None or pressure is None:
        return False
    margin = rules.override_margin
    return _above(pressure, answered["systolic"] + margin, answered["diastolic"] + margin)


def _above(pressure: Pressure, systolic: float, diastolic: float) -> bool:
    return pressure.systolic > systolic or pressure.diastolic > diastolic
