"""The dose gate: every reason against a dose with its class, never only the first (clinical.md 3.3, 5, 6, 10). Pure."""

from collections.abc import Iterable
from datetime import timedelta

from services.monitoring import doses, readiness, standing
from services.monitoring.gate_found import Found, GateRules, Reason

__all__ = ["Found", "GateRules", "Reason", "closed", "closing", "reasons"]


def reasons(rules: GateRules, found: Found) -> list[Reason]:
    """Every reason; none closes the gate when it is open."""
    checks = (_baseline(rules, found), _pressure(rules, found), _mind(found), readiness.missing(rules, found.readiness))
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


def _baseline(rules: GateRules, found: Found) -> list[Reason]:
    if found.baseline is None or found.baseline_at is None:
        return [Reason("no_baseline", "absolute", "No baseline was taken.")]
    treated = found.antihypertensive_at
    if treated is not None and treated >= found.baseline_at and not found.given.devices:
        return [Reason("remeasurement_due", "overridable", "An antihypertensive was given: take the baseline again.")]
    old = found.now - found.baseline_at > timedelta(minutes=rules.valid_minutes)
    text = f"The baseline is older than {rules.valid_minutes:g} minutes."
    return [Reason("baseline_expired", "overridable", text)] if old and not found.given.devices else []


def _pressure(rules: GateRules, found: Found) -> list[Reason]:
    base = found.baseline
    if base is None or (base["systolic"] <= rules.max_systolic and base["diastolic"] <= rules.max_diastolic):
        return []
    text = f"The baseline blood pressure is above {rules.max_systolic:g}/{rules.max_diastolic:g} mm[Hg]."
    return [Reason("blood_pressure", "overridable", text)]


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
