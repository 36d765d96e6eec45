"""Whether the patient came ready: fasted, with an escort, well (clinical.md 4.1, 5). Pure."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.monitoring.gate_found import Fasting, GateRules, Reason

NOT_READY = {
    "fasting": ("not_fasting", "The patient has not fasted."),
    "escort_named": ("no_escort", "No escort is named."),
    "escort_reachable": ("escort_not_reachable", "The escort was not reached."),
    "well_today": ("not_well", "The patient is not well today."),
}
TOO_SOON = {
    "clear_liquids": ("fasting_clear_liquids", "The patient drank clear liquids"),
    "light_meal": ("fasting_light_meal", "The patient had a light meal"),
    "fatty_meal": ("fasting_fatty_meal", "The patient had a fatty meal"),
}
_TOLD_AS = {"fasting": "fasting", "escort": "escort_named", "well_today": "well_today"}


def told(checks: Mapping[str, bool]) -> dict[str, bool]:
    """The checks of scheduling in the words of the bedside; a change of medicines that is not ok is one to look at."""
    found = {name: checks[check] for check, name in _TOLD_AS.items() if check in checks}
    return found | ({"medication_changes": not checks["medication_changes"]} if "medication_changes" in checks else {})


def missing(rules: GateRules, ready: Mapping[str, Any] | None, at: datetime) -> list[Reason]:
    """What check-in recorded, and before it what was told of the appointment, for a dose given `at`."""
    if ready is None:
        return [Reason("readiness_missing", "overridable", "Readiness was not recorded at check-in.")]
    found = [reason for name in rules.readiness for reason in _check(rules, ready, name, at)]
    if ready.get("medication_changes"):
        found.append(Reason("medication_changed", "overridable", "A medicine has changed and nobody has reviewed it."))
    return found + _pregnancy(rules, ready.get("pregnancy_test"))


def _check(rules: GateRules, ready: Mapping[str, Any], name: str, at: datetime) -> list[Reason]:
    if name == "fasting" and rules.fasting_hours is not None and ready.get("last_intake"):
        return _fasting(rules.fasting_hours, ready, at)
    return [] if ready.get(name) else [Reason(NOT_READY[name][0], "overridable", NOT_READY[name][1])]


def _fasting(hours: Fasting, ready: Mapping[str, Any], at: datetime) -> list[Reason]:
    """By the times that were told; a patient who had not fasted at check-in has since when a meal and a drink say so."""
    taken: Mapping[str, datetime] = ready["last_intake"]
    found = [reason for kind, since in taken.items() for reason in _too_soon(kind, getattr(hours, kind), at - since)]
    settled = ready.get("fasting") or found or ("clear_liquids" in taken and len(taken) > 1)
    return found if settled else [Reason(NOT_READY["fasting"][0], "overridable", NOT_READY["fasting"][1])]


def _too_soon(kind: str, hours: float, passed: timedelta) -> list[Reason]:
    left = math.ceil((timedelta(hours=hours) - passed) / timedelta(minutes=1))
    text = f"{TOO_SOON[kind][1]} less than {hours:g} h before the dose: {left} min are missing."
    return [Reason(TOO_SOON[kind][0], "overridable", text)] if left > 0 else []


def _pregnancy(rules: GateRules, test: str | None) -> list[Reason]:
    if test == "positive":
        return [Reason("pregnancy", "absolute", "The pregnancy test is positive.")]
    if rules.pregnancy_test and test is None:
        return [Reason("pregnancy_test_missing", "overridable", "The protocol asks for a pregnancy test.")]
    return []
