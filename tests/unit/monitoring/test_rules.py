"""The protocol's tables against clinical.md, the dose gate and the silence of devices."""

import csv
import io
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.monitoring.alarms import evaluate, tick
from services.monitoring.limits import broken, limits
from services.monitoring.model import ENDED, OPEN, TRANSITIONS, aborted, infusion, left, move, outcome, started, stopped
from services.monitoring.protocol import DosingProtocol
from services.monitoring.signals import SignalRules, silent_devices
from services.monitoring.substances import as_csv, day_of
from services.monitoring.vitals import judge
from services.monitoring.wiring import make_deps, rules
from shared.errors import Conflict
from shared.persistence.vault import KeyRing

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ADULT = rules()["adult-2026-11"]
BP, DBP, HR, SPO2, RR = "8480-6", "8462-4", "8867-4", "59408-5", "9279-1"


@pytest.mark.parametrize(
    ("sign", "value", "priority"),
    [
        (BP, 180, "high"),
        (BP, 160, "medium"),
        (BP, 159, None),
        (BP, 100, None),
        (BP, 99, "medium"),
        (BP, 90, "medium"),
        (BP, 89, "high"),
        (DBP, 110, "high"),
        (DBP, 100, "medium"),
        (DBP, 50, None),
        (DBP, 49, "medium"),
        (HR, 141, "high"),
        (HR, 140, "medium"),
        (HR, 121, "medium"),
        (HR, 120, None),
        (HR, 50, None),
        (HR, 49, "medium"),
        (HR, 40, "medium"),
        (HR, 39, "high"),
        (SPO2, 94, None),
        (SPO2, 93, "medium"),
        (SPO2, 90, "medium"),
        (SPO2, 89, "high"),
        (RR, 10, None),
        (RR, 9, "medium"),
        (RR, 7, "high"),
        (RR, 24, None),
        (RR, 25, "medium"),
        (RR, 31, "high"),
        (HR, 0, "high"),
        (SPO2, 0, "high"),
        (RR, 0, "high"),
        (BP, 0, "high"),
    ],
)
def test_two_tiers_of_clinical_md_3_3_and_10(sign: str, value: float, priority: str | None) -> None:
    found = limits(ADULT, "dosing", {})
    states, at_once = evaluate({}, sign, value, NOW, found)
    _, later = tick(states, NOW + timedelta(seconds=60), found)
    raised = {item.limit.rule.priority for item in [*at_once, *later]}
    worst = "high" if "high" in raised else "medium" if raised else None
    assert worst == priority


@pytest.mark.parametrize(
    ("before", "value", "found"), [(100, 71, []), (100, 70, ["hr_fall"]), (80, 57, []), (80, 56, ["hr_fall"])]
)
def test_a_heart_rate_30_percent_below_the_baseline_warns_clinical_md_10(
    before: float, value: float, found: list[str]
) -> None:
    known = limits(ADULT, "dosing", {HR: before})
    assert [(item.name, item.rule.priority) for item in broken(known, HR, value)] == [
        (name, "medium") for name in found
    ]


@pytest.mark.parametrize(
    ("sign", "value", "unit", "verdict"),
    [
        (BP, 0, "mm[Hg]", ("collapse", None)),
        (BP, 301, "mm[Hg]", ("quarantined", "above_bound")),
        (BP, 120, "kPa", ("quarantined", "wrong_unit")),
        (HR, -1, "/min", ("quarantined", "below_bound")),
        (RR, 0, "/min", ("collapse", None)),
        ("8310-5", 29, "Cel", ("quarantined", "below_bound")),
        (SPO2, 100, "%", ("plausible", None)),
    ],
)
def test_zero_is_a_finding_not_bad_data_clinical_md_10(
    sign: str, value: float, unit: str, verdict: tuple[str, str | None]
) -> None:
    assert judge(sign, value, unit) == verdict


def test_swapped_pressures_are_quarantined_clinical_md_3_1() -> None:
    assert judge(DBP, 130, "mm[Hg]", systolic=80) == ("quarantined", "diastolic_not_below_systolic")


@pytest.mark.parametrize(
    ("route", "minutes", "gap_hours", "ceiling"),
    [("iv", 60, 48, 1.0), ("im", 120, 72, 1.5), ("sublingual", 180, 72, 7.0), ("esketamine_nasal", 120, 48, 2.0)],
)
def test_each_route_has_its_own_protocol_clinical_md_5(
    route: str, minutes: int, gap_hours: float, ceiling: float
) -> None:
    protocol = make_deps(KeyRing("k1:" + b64encode(b"k" * 32).decode())).protocol_of_route(route)
    assert isinstance(protocol, DosingProtocol)
    assert (protocol.route, protocol.discharge.min_minutes_after_dose) == (route, minutes)
    assert (protocol.gate.min_gap_hours, protocol.ceiling_mg_per_kg) == (gap_hours, ceiling)


SIGNAL = SignalRules(factor=10, least_s=10, interval_s=1)


@pytest.mark.parametrize(
    ("silent_s", "interval_s", "tolerance_s", "found"),
    [(10, None, 2, False), (11, None, 2, True), (60, 30, 2, False), (301, 30, 2, True), (60, None, 120, False)],
)
def test_a_device_is_silent_after_ten_of_its_intervals(
    silent_s: float, interval_s: float | None, tolerance_s: float, found: bool
) -> None:
    intervals = {} if interval_s is None else {"m": interval_s}
    seen = {"m": NOW - timedelta(seconds=silent_s), "manual": NOW - timedelta(hours=9)}
    silent = silent_devices(SIGNAL, intervals, seen, NOW, "dosing", timedelta(seconds=tolerance_s))
    assert [item.device for item in silent] == (["m"] if found else [])
    assert all(item.priority == "high" for item in silent)


def session(state: str, **fields: Any) -> dict[str, Any]:
    return {
        "state": state,
        "version": 1,
        "doses": [],
        "ended_at": None,
        "aborted": False,
        "watched": state in OPEN,
        **fields,
    }


@pytest.mark.parametrize("step", sorted(TRANSITIONS))
@pytest.mark.parametrize("state", ["scheduled", *OPEN, *ENDED])
def test_a_forbidden_transition_says_what_is_missing(step: str, state: str) -> None:
    allowed = TRANSITIONS[step]
    if state in allowed:
        assert move(session(state), step, NOW)["state"] == allowed[state]
        return
    with pytest.raises(Conflict) as refused:
        move(session(state), step, NOW)
    assert all(name in refused.value.reasons[0]["detail"] for name in (state, *allowed))


@pytest.mark.parametrize(
    ("state", "step", "missing"),
    [
        ("scheduled", "baseline", "Missing: check-in."),
        ("scheduled", "dose", "Missing: check-in, baseline."),
        ("checked_in", "dose", "Missing: baseline."),
        ("baseline", "discharge", "Missing: dose."),
        ("dosing", "complete", "Missing: discharge or leave."),
    ],
)
def test_what_has_to_come_first_is_named(state: str, step: str, missing: str) -> None:
    with pytest.raises(Conflict) as refused:
        move(session(state), step, NOW)
    assert refused.value.reasons[0]["detail"].endswith(missing)


def test_a_visit_without_a_dose_lacks_none_before_it_is_complete() -> None:
    with pytest.raises(Conflict) as refused:
        move(session("scheduled", kind="wellness"), "complete", NOW)
    assert refused.value.reasons[0]["detail"].endswith("Missing: check-in.")


@pytest.mark.parametrize(
    ("kind", "dosed", "completed"),
    [
        ("dosing", True, False),
        ("group", True, True),
        ("preparation", False, True),
        ("integration", False, True),
        ("wellness", False, True),
    ],
)
def test_only_some_kinds_have_a_dose_and_the_others_are_complete_without(
    kind: str, dosed: bool, completed: bool
) -> None:
    steps = {"dose": ("baseline", dosed), "complete": ("checked_in", completed)}
    for step, (state, allowed) in steps.items():
        before = session(state, kind=kind, ended_at=None)
        if allowed:
            assert move(before, step, NOW)["ended_at"] == (NOW if step == "complete" else None)
        else:
            with pytest.raises(Conflict):
                move(before, step, NOW)


@pytest.mark.parametrize("kind", ["group", "preparation", "integration", "wellness"])
def test_where_nobody_has_to_be_dosed_a_session_without_a_dose_is_a_completed_one(kind: str) -> None:
    assert outcome(session("completed", kind=kind)) == "completed"
    assert outcome(session("completed", kind=kind, disposition={"disposition": "died"})) == "aborted"


@pytest.mark.parametrize("state", ["checked_in", "baseline", "gate_open"])
def test_who_takes_part_in_a_group_without_a_dose_is_done_when_it_is_over_whatever_was_prepared(state: str) -> None:
    assert move(session(state, kind="group"), "complete", NOW)["state"] == "completed"


def test_an_aborted_session_is_not_dosed_again() -> None:
    with pytest.raises(Conflict) as refused:
        move(session("recovery", doses=[{}], aborted=True), "dose", NOW)
    assert refused.value.reasons[0]["code"] == "aborted"


@pytest.mark.parametrize("state", ["checked_in", "baseline", "gate_open", "recovery", "left"])
def test_more_flows_only_while_a_dose_runs_and_a_pause_is_never_refused(state: str) -> None:
    for verb in ("resume", "rate"):
        with pytest.raises(Conflict):
            infusion(session(state), verb, NOW, 40)
    assert infusion(session(state), "pause", NOW, None) == session(state)


@pytest.mark.parametrize("verb", ["resume", "rate"])
def test_after_an_abort_no_more_flows_though_an_infusion_was_moved_here(verb: Any) -> None:
    """A dose of another session, moved into an aborted one, brings its infusion with it: it may be paused and stopped."""
    running = {"state": "running", "since": NOW, "rate_mg_per_h": 52.5}
    aborted_here = session("recovery", doses=[{}], aborted=True, infusion=running)
    paused = infusion(aborted_here, "pause", NOW, None)
    assert (paused["state"], paused["infusion"]["state"]) == ("recovery", "paused")
    with pytest.raises(Conflict) as refused:
        infusion(paused, verb, NOW, 40)
    assert refused.value.reasons[0]["code"] == "aborted"


def test_an_infusion_runs_pauses_goes_on_at_another_rate_and_stops() -> None:
    running = session("dosing", infusion={"state": "running", "since": NOW, "rate_mg_per_h": 52.5})
    paused = infusion(running, "pause", NOW, None)
    slower = infusion(infusion(paused, "resume", NOW, None), "rate", NOW, 30)
    over = stopped(slower, NOW)
    states = [item["infusion"]["state"] for item in (paused, slower, over)]
    assert states == ["paused", "running", "stopped"]
    assert [item["infusion"]["rate_mg_per_h"] for item in (paused, slower, over)] == [52.5, 30, 30]


def test_an_infusion_at_no_rate_has_none() -> None:
    running = session("dosing", infusion={"state": "running", "since": NOW, "rate_mg_per_h": 52.5})
    assert infusion(running, "rate", NOW, 0)["infusion"]["rate_mg_per_h"] == 0


def test_what_is_given_beside_an_infusion_leaves_it_as_it_is_and_after_its_end_begins_one() -> None:
    later = NOW + timedelta(minutes=5)
    for state in ("running", "paused"):
        known = {"state": state, "since": NOW, "rate_mg_per_h": 52.5}
        assert started(session("dosing", infusion=known), later, None) == known
    begun = {"state": "running", "since": later, "rate_mg_per_h": None}
    assert started(session("recovery", infusion={"state": "stopped", "since": NOW}), later, None) == begun


@pytest.mark.parametrize("end", [stopped, aborted])
@pytest.mark.parametrize("known", [None, {"state": "running", "since": NOW, "rate_mg_per_h": None}])
@pytest.mark.parametrize("state", ["dosing", "recovery"])
def test_stop_and_abort_record_the_end_of_what_was_given(end: Any, known: Any, state: str) -> None:
    at = NOW + timedelta(minutes=40)
    over = end(session(state, doses=[{}], infusion=known), at)
    assert (over["state"], over["infusion"]["state"], over["infusion"]["since"]) == ("recovery", "stopped", at)
    assert aborted(over, at + timedelta(minutes=5))["infusion"]["since"] == at


@pytest.mark.parametrize("end", [stopped, aborted])
@pytest.mark.parametrize(("minutes", "counts"), [(-5, False), (0, False), (1, False), (1.1, True), (5, True)])
def test_a_stop_that_is_told_for_later_counts_and_one_said_again_does_not(
    end: Any, minutes: float, counts: bool
) -> None:
    at = NOW + timedelta(minutes=40)
    over, later = end(session("dosing", doses=[{}]), at), at + timedelta(minutes=minutes)
    assert stopped(over, later)["infusion"]["since"] == (later if counts else at)
    assert (stopped(over, later) is over) != counts


@pytest.mark.parametrize("state", ["scheduled", *OPEN, *ENDED])
def test_abort_before_a_dose_ends_the_session_and_after_one_only_the_dosing(state: str) -> None:
    before, after = aborted(session(state), NOW), aborted(session(state, doses=[{}]), NOW)
    if state in ENDED:
        assert (before["state"], after["state"]) == (state, state)
    else:
        assert (before["state"], before["watched"]) == ("aborted", False)
        assert (after["state"], after["watched"], after["aborted"]) == ("recovery", True, True)


def test_stop_and_leave_never_fail_and_move_only_what_they_should() -> None:
    for state in ("scheduled", *OPEN, *ENDED):
        assert stopped(session(state), NOW)["state"] == ("recovery" if state == "dosing" else state)
        assert left(session(state), NOW)["state"] == (state if state in ENDED else "left")


DAY = date(2026, 3, 8)  # the clocks of New York go forward: 23 hours


def entry(kind: str, at: datetime, **facts: Any) -> dict[str, Any]:
    row = {"_id": f"e-{kind}", "kind": kind, "session_id": "s1", "occurred_at": at, "recorded_at": at, "by": "nurse-1"}
    return row | {"facts": facts}


def test_the_day_of_the_log_is_the_clinics_own() -> None:
    since, until = day_of(DAY, "America/New_York")
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=23)


def test_the_log_has_dose_and_waste_with_witness_in_order_and_computes_nothing() -> None:
    wasted = entry(
        "waste", NOW + timedelta(minutes=5), medication="ketamine", amount_mg=15, lot="=1+1", witness="nurse-2"
    )
    given = entry("dose", NOW, medication="ketamine", amount_mg=35, lot="L1", expiry="2028-01")
    rows = list(csv.DictReader(io.StringIO(as_csv([wasted, given], [], {"s1": "p1"}))))
    assert [(row["kind"], row["amount_mg"], row["lot"], row["witness"]) for row in rows] == [
        ("dose", "35", "L1", ""),
        ("waste", "15", "'=1+1", "nurse-2"),
    ]
    assert {row["patient_id"] for row in rows} == {"p1"}


@pytest.mark.parametrize(
    ("later", "statuses"),
    [
        ([], ["counts"]),
        ([entry("moved_away", NOW, moves="e-dose")], ["moved"]),
        (
            [entry("correction", NOW, corrects="e-dose", corrected_kind="dose", now={"amount_mg": 30})],
            ["corrected", "counts"],
        ),
        (
            [entry("correction", NOW, corrects="e-dose", corrected_kind="dose", entered_in_error=True, now={})],
            ["corrected", "error"],
        ),
    ],
)
def test_the_log_leaves_nothing_out_and_says_what_counts(later: list[dict[str, Any]], statuses: list[str]) -> None:
    given = entry("dose", NOW, medication="ketamine", amount_mg=35)
    rest = [{**row, "recorded_at": NOW + timedelta(minutes=1)} for row in later]
    shown = [given, *(row for row in rest if row["kind"] == "correction")]
    rows = list(csv.DictReader(io.StringIO(as_csv(shown, rest, {"s1": "p1"}))))
    assert sorted(row["status"] for row in rows) == sorted(statuses)
    assert {row["kind"] for row in rows} == {"dose"}
