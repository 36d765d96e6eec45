"""What the entries of a session say now, and what becomes of its doses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.monitoring.doses_given import corrected, infusion_of, taken_away, taken_over
from services.monitoring.timeline import ambulance_called, emergency_since, newest_score, present
from shared.errors import Conflict

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DOSE: dict[str, Any] = {"amount_mg": 35.0, "lot": "L", "expiry": "2028-01", "medication": "ketamine", "mg_per_kg": 0.5}


def at(minute: float) -> datetime:
    return NOW + timedelta(minutes=minute)


def entry(name: str, kind: str = "observation", minute: float = 0, recorded: float | None = None, **facts: Any) -> Any:
    recorded_at = at(minute if recorded is None else recorded)
    return {"_id": name, "kind": kind, "occurred_at": at(minute), "recorded_at": recorded_at, "by": "n", "facts": facts}


def moaas(name: str, score: int, minute: float, recorded: float | None = None) -> Any:
    return entry(name, "observation", minute, recorded, observation_code="moaas", score=score)


def test_what_is_recorded_late_stands_where_it_happened() -> None:
    rows = present([moaas("b", 4, 20), moaas("a", 3, 10, recorded=30)])
    assert [row["_id"] for row in rows] == ["a", "b"]
    assert newest_score(rows, ["moaas"], at(0), at(60)) == 4


def test_the_newest_correction_counts_whatever_order_they_come_in() -> None:
    first = entry("c1", "correction", 10, 40, corrects="a", now={"observation_code": "moaas", "score": 2})
    second = entry("c2", "correction", 10, 50, corrects="a", now={"observation_code": "moaas", "score": 5})
    rows = present([second, first, moaas("a", 3, 10)])
    assert [(row["_id"], row["facts"]["score"]) for row in rows] == [("a", 5)]


@pytest.mark.parametrize(
    "gone",
    [
        entry("x", "correction", 0, 40, corrects="a", entered_in_error=True, now={}),
        entry("x", "moved_away", 0, 40, moves="a"),
    ],
    ids=["entered in error", "moved away"],
)
def test_what_was_an_error_or_anothers_counts_no_more(gone: Any) -> None:
    assert newest_score(present([moaas("a", 5, 10), gone]), ["moaas"], at(0), at(60)) is None


def test_a_score_counts_within_its_span_alone() -> None:
    rows = present([moaas("a", 5, 10)])
    assert newest_score(rows, ["moaas"], at(11), at(60)) is None
    assert newest_score(rows, ["moaas"], at(0), at(9)) is None


def test_the_code_clock_runs_from_the_first_call_until_the_end() -> None:
    rows = [entry("1", "emergency_called", 1), entry("2", "emergency_called", 3)]
    assert emergency_since(rows) == at(1)
    rows.append(entry("3", "emergency_ended", 5))
    assert emergency_since(rows) is None
    assert emergency_since([*rows, entry("4", "emergency_called", 9)]) == at(9)


@pytest.mark.parametrize(
    ("minute", "recorded", "counts"),
    [(30, 30, True), (5, 5, True), (4.9, 4.9, False), (5, 25, True)],
    ids=["in it", "on its way", "long before", "told late"],
)
def test_an_ambulance_counts_that_was_called_at_most_15_minutes_before_the_emergency(
    minute: float, recorded: float, counts: bool
) -> None:
    line = entry("1", "emergency_log", minute, recorded, log_code="ambulance_called")
    assert ambulance_called([line, entry("2", "emergency_called", 20)], at(20)) == counts


@pytest.mark.parametrize("recorded", [12, 25], ids=["then", "late"])
def test_the_ambulance_of_an_emergency_that_ended_is_none_for_the_next(recorded: float) -> None:
    line = entry("2", "emergency_log", 12, recorded, log_code="ambulance_called")
    rows = [entry("1", "emergency_called", 11), line, entry("3", "emergency_ended", 18)]
    assert not ambulance_called([*rows, entry("4", "emergency_called", 20)], at(20))


def session(state: str = "dosing", **fields: Any) -> Any:
    doses = [{**DOSE, "at": at(0), "by": "n"}]
    base = {"baseline": {"weight_kg": 70}, "baseline_at": at(0)}
    return {"state": state, "doses": doses, **base, "started_at": at(0), **fields}


def test_a_corrected_dose_is_known_per_weight() -> None:
    before = entry("d", "dose", 0, **DOSE)
    changed, facts = corrected(session(), before, {**before, "facts": DOSE | {"amount_mg": 70.0}})
    assert (changed["doses"][0]["amount_mg"], changed["doses"][0]["mg_per_kg"], facts["mg_per_kg"]) == (70.0, 1.0, 1.0)


@pytest.mark.parametrize("state", ["dosing", "recovery"])
def test_without_its_only_dose_an_open_session_is_where_it_was_before(state: str) -> None:
    before = entry("d", "dose", 0, **DOSE)
    changed, _ = taken_away(session(state), before, before)
    assert changed == {"doses": [], "started_at": None, "state": "baseline", "infusion": None, "aborted": False}


def test_with_another_dose_it_goes_on() -> None:
    before, both = entry("d", "dose", 0, **DOSE), [{**DOSE, "at": at(0)}, {**DOSE, "at": at(5)}]
    changed, _ = taken_away(session(doses=both), before, before)
    assert changed == {"doses": both[1:], "started_at": at(5)}


@pytest.mark.parametrize(
    ("state", "after"),
    [("checked_in", "dosing"), ("baseline", "dosing"), ("dosing", "dosing"), ("recovery", None), ("left", None)],
)
def test_who_has_had_the_dose_is_watched_as_dosed(state: str, after: str | None) -> None:
    before = entry("d", "dose", 7, **DOSE)
    changed, facts = taken_over(session(state, doses=[], baseline={"weight_kg": 50}), before, before)
    assert (changed.get("state"), changed["started_at"], facts["mg_per_kg"]) == (after, at(7), 0.7)


@pytest.mark.parametrize("state", ["scheduled", "voided"])
def test_nobody_has_had_a_dose_who_was_never_here(state: str) -> None:
    before = entry("d", "dose", 0, **DOSE)
    with pytest.raises(Conflict):
        taken_over(session(state, doses=[]), before, before)


RUNNING = {"state": "running", "since": at(0), "rate_mg_per_h": 52.5}
ENDED = {"state": "stopped", "since": at(40), "rate_mg_per_h": 52.5}


def test_an_infusion_is_the_newest_doses() -> None:
    both = [{**DOSE, "at": at(0)}, {**DOSE, "at": at(5)}]
    here = session(doses=both, infusion=RUNNING)
    assert infusion_of(here, entry("d", "dose", 5, **DOSE)) == RUNNING
    assert infusion_of(here, entry("d", "dose", 0, **DOSE)) is None


@pytest.mark.parametrize(
    ("own", "moved", "kept"),
    [
        (None, RUNNING, RUNNING),
        (None, ENDED, ENDED),
        ({**ENDED, "since": at(60)}, RUNNING, RUNNING),
        ({**ENDED, "since": at(60)}, ENDED, {**ENDED, "since": at(60)}),
        ({**RUNNING, "since": at(9)}, ENDED, {**RUNNING, "since": at(9)}),
    ],
)
def test_a_moved_dose_takes_its_infusion_with_it_and_the_one_that_ends_last_counts(
    own: Any, moved: Any, kept: Any
) -> None:
    before = entry("d", "dose", 0, **DOSE)
    changed, _ = taken_over(session("dosing", infusion=own), before, before, moved)
    assert changed["infusion"] == kept


@pytest.mark.parametrize(
    ("infusion", "aborted", "after"), [(RUNNING, False, "dosing"), (RUNNING, True, None), (ENDED, False, None)]
)
def test_who_recovers_and_has_an_infusion_that_runs_is_dosed_again(
    infusion: Any, aborted: bool, after: str | None
) -> None:
    before = entry("d", "dose", 0, **DOSE)
    changed, _ = taken_over(session("recovery", aborted=aborted), before, before, infusion)
    assert changed.get("state") == after
