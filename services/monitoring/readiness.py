"""Whether the patient came ready: fasted, with an escort, well (clinical.md 4.1, 5). Pure."""

from collections.abc import Mapping
from typing import Any

from services.monitoring.gate_found import GateRules, Reason

NOT_READY = {
    "fasting": ("not_fasting", "The patient has not fasted."),
    "escort_named": ("no_escort", "No escort is named."),
    "escort_reachable": ("escort_not_reachable", "The escort was not reached."),
    "well_today": ("not_well", "The patient is not well today."),
}
_TOLD_AS = {"fasting": "fasting", "escort": "escort_named", "well_today": "well_today"}


def told(checks: Mapping[str, bool]) -> dict[str, bool]:
    """The checks of scheduling in the words of the bedside; a change of medicines that is not ok is one to look at."""
    found = {name: checks[check] for check, name in _TOLD_AS.items() if check in checks}
    return found | ({"medication_changes": not checks["medication_changes"]} if "medication_changes" in checks else {})


def missing(rules: GateRules, ready: Mapping[str, Any] | None) -> list[Reason]:
    """What check-in recorded, and before it what was told of the appointment."""
    if ready is None:
        return [Reason("readiness_missing", "overridable", "Readiness was not recorded at check-in.")]
    found = [
        Reason(NOT_READY[name][0], "overridable", NOT_READY[name][1]) for name in rules.readiness if not ready.get(name)
    ]
    if ready.get("medication_changes"):
        found.append(Reason("medication_changed", "overridable", "A medicine has changed and nobody has reviewed it."))
    return found + _pregnancy(rules, ready.get("pregnancy_test"))


def _pregnancy(rules: GateRules, test: str | None) -> list[Reason]:
    if test == "positive":
        return [Reason("pregnancy", "absolute", "The pregnancy test is positive.")]
    if rules.pregnancy_test and test is None:
        return [Reason("pregnancy_test_missing", "overridable", "The protocol asks for a pregnancy test.")]
    return []
