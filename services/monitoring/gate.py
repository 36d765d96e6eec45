"""The dose gate: every reason against a dose with its class, never only the first (clinical.md 3.3, 5, 6, 10). Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from services.monitoring import doses, gate_pressure, readiness, standing
from services.monitoring.gate_found import Found, GateRules, Reason

__all__ = ["Found", "GateRules", "Reason", "closed", "closing", "open_until", "reasons"]


def reasons(rules: GateRules, found: Found) -> list[Reason]:
    """Every reason; none closes the gate when it is open."""
    checks = (
        _baseline(found),
        gate_pressure.reasons(rules, found),
        _weight(rules, found),
        _mind(found),
        readiness.missing(rules, found.readiness, found.dose_at),
    )
    own = [reason for check in checks for reason in check]
    return own + standing.reasons(rules, found) + doses.reasons(rules, found)


def closing(found: Iterable[Reason], overridden: Iterable[str] = ()) -> list[Reason]:
    """What keeps the gate closed although these codes were overridden; what is absolute always does."""
    answered = set(overridden)
    return [
        item for item in found if item.kind == "absolute" or (item.kind == "overridable" and item.code not in answered)
    ]


def closed(found: Iterable[Reason]) -> bool:
    return bool(closing(found))


def open_until(now: datetime, valid: timedelta, *ends: datetime | None) -> datetime:
    """How long a gate that is opened now stays open: as long as what it rests on; what is over already was overridden."""
    return min([now + valid, *(end for end in ends if end is not None and end > now)])


def _baseline(found: Found) -> list[Reason]:
    if found.baseline is None or found.baseline_at is None:
        return [Reason("no_baseline", "absolute", "No baseline was taken.")]
    return []


def _weight(rules: GateRules, found: Found) -> list[Reason]:
    """OWN, clinical.md 3.1: a change of more than 10 % from the last one asks to be confirmed."""
    base, last = found.baseline, found.last_weight_kg
    if base is None or last is None or base.get("weight_confirmed"):
        return []
    most = rules.max_weight_change_percent
    if abs(base["weight_kg"] - last) * 100 <= most * last:
        return []
    text = f"The weight differs by more than {most:g} % from the last known one: confirm it with the baseline."
    return [Reason("weight_changed", "overridable", text)]


def _mind(found: Found) -> list[Reason]:
    """The suicide-risk question, and what sedation and dissociation are compared with afterwards."""
    base = found.baseline
    if base is None:
        return []
    list_: list[Reason] = []
    if base.get("suicidal_ideation") is None:
        list_.append(Reason("suicide_question_unanswered", "overridable", "The suicide-risk question was not asked."))
    elif base["suicidal_ideation"]:
        list_.append(Reason("suicidal_ideation", "overridable", "The patient has thoughts of suicide today."))
    if base.get("moaas") is None or base.get("cadss6") is None:
        list_.append(Reason("scales_missing", "note", "Sedation and dissociation have no baseline."))
    return list_
