"""When what is due: the schedules of clinical.md 3.2 as times; combinations as counts; own limits by their rules."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring import schedule
from services.monitoring.combinations import Combination, Part, concerned, unit_of
from services.monitoring.limits import Limits, is_collapse, limits
from services.monitoring.protocol import Measurement, beyond
from services.monitoring.schedule import Due, began, due, next_due
from services.monitoring.wiring import limit_sets, make_deps, protocols

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ADULT = limit_sets()["adult-2026-11"]


def line(**given: Any) -> Measurement:
    return Measurement(**({"name": "pressure", "signs": ("8480-6",), "phase": "dosing", "grace_minutes": 5} | given))


def due_minutes(measurement: Measurement) -> list[float]:
    found, number = list[float](), 0
    while number < 5 and (item := due(measurement, NOW, number)) is not None:
        found.append((item.at - NOW).total_seconds() / 60)
        number += 1
    return found


@pytest.mark.parametrize(
    ("measurement", "expected"),
    [
        (line(at_minutes=(40,)), [40]),
        (line(every_minutes=10, for_minutes=40), [10, 20, 30, 40]),
        (line(at_minutes=(15, 0, 90)), [0, 15, 90]),
        (line(every_minutes=15), [15, 30, 45, 60, 75]),
    ],
    ids=["esketamine LABEL: 40 min", "EMORY: every 10 min during", "GDA: fixed minutes", "EMORY: every 15 min after"],
)
def test_schedules_clinical_md_3_2(measurement: Measurement, expected: list[float]) -> None:
    assert due_minutes(measurement) == expected


PRESSURE, SATURATION, SEDATION = {"8480-6", "8462-4"}, {"59408-5"}, {"moaas"}
SHIPPED = {
    "EMORY, CN741: IV pressure every 10 min during": ("iv", "pressure_dosing", "dosing", PRESSURE, 10),
    "EMORY, CN741: IV pressure every 15 min after": ("iv", "pressure_recovery", "recovery", PRESSURE, 15),
    "CFG, section 2: IV sedation": ("iv", "sedation_recovery", "recovery", SEDATION, 30),
    "CFG, as IV: IM pressure during": ("im", "pressure_dosing", "dosing", PRESSURE, 10),
    "CFG, as IV: IM pressure after": ("im", "pressure_recovery", "recovery", PRESSURE, 15),
    "CFG, section 2: IM sedation": ("im", "sedation_recovery", "recovery", SEDATION, 30),
    "CFG, section 5: lozenge pressure during": ("sublingual", "pressure_dosing", "dosing", PRESSURE, 20),
    "CFG, section 5: lozenge pressure after": ("sublingual", "pressure_recovery", "recovery", PRESSURE, 30),
    "CFG, section 2: lozenge sedation": ("sublingual", "sedation_recovery", "recovery", SEDATION, 30),
    "LABEL, PMF: esketamine pressure at 40 min": ("esketamine_nasal", "pressure_40", "dosing", PRESSURE, None),
    "LABEL: esketamine pressure until declining": ("esketamine_nasal", "pressure_recovery", "recovery", PRESSURE, 30),
    "PMF: esketamine oximetry every session": ("esketamine_nasal", "oximetry", "dosing", SATURATION, 15),
    "REMS-FDA: esketamine sedation": ("esketamine_nasal", "sedation_recovery", "recovery", SEDATION, 30),
}


@pytest.mark.parametrize(("route", "name", "phase", "what", "every"), SHIPPED.values(), ids=SHIPPED)
def test_the_protocols_measure_by_clinical_md_3_2(
    route: str, name: str, phase: str, what: set[str], every: int | None
) -> None:
    (protocol,) = (item for item in protocols().values() if item.subject == route)
    (found,) = (item for item in protocol.schedule if item.name == name)
    assert (found.phase, {*found.signs, *found.scales}) == (phase, what)
    assert found.since == ("phase" if every else "first_dose")
    assert due_minutes(found) == ([every * number for number in range(1, 6)] if every else [40])


AT_40 = line(signs=("8480-6", "8462-4"), since="first_dose", at_minutes=(20, 40))


@pytest.mark.parametrize(
    ("changed", "fit"),
    [
        ({}, True),
        ({"signs": ("8480-6",)}, False),
        ({"since": "phase"}, False),
        ({"since": "last_dose"}, False),
        ({"at_minutes": (41,)}, False),
        (None, False),
    ],
    ids=["both at 40", "systolic alone", "since the phase", "since the last device", "later", "nothing"],
)
def test_no_version_of_esketamine_leaves_out_the_pressure_at_40_minutes_clinical_md_3_2(
    changed: dict[str, Any] | None, fit: bool
) -> None:
    (shipped,) = (item for item in protocols().values() if item.subject == "esketamine_nasal")
    asked = () if changed is None else (AT_40.model_copy(update=changed),)
    broken = list(beyond(make_deps(Mock()).hard_bounds, shipped.model_copy(update={"schedule": asked})))
    wanted = "must ask for both pressures 40 minutes after the first dose"
    assert broken == ([] if fit else [(("schedule",), wanted)])


def test_every_measurement_of_the_protocols_has_its_source_above() -> None:
    lines = {(item.subject, found.name) for item in protocols().values() for found in item.schedule}
    assert lines == {row[:2] for row in SHIPPED.values()}


def test_a_measurement_counts_from_its_grace_before_and_is_late_after_its_grace() -> None:
    found = due(line(at_minutes=(40,)), NOW, 0)
    assert found is not None
    assert (found.opens_at, found.late_at) == (NOW + timedelta(minutes=35), NOW + timedelta(minutes=45))


def test_the_next_is_the_first_that_is_not_late() -> None:
    found = next_due(line(every_minutes=10), NOW, NOW + timedelta(minutes=26))
    assert found is not None
    assert found.at == NOW + timedelta(minutes=30)
    assert next_due(line(at_minutes=(40,)), NOW, NOW + timedelta(minutes=45)) is None


def one_by_one(measurement: Measurement, begin: datetime, now: datetime) -> Due | None:
    number = 0
    while (found := due(measurement, begin, number)) is not None and found.late_at <= now:
        number += 1
    return found


MINUTES = st.integers(1, 60) | st.floats(1, 60)


@given(
    fixed=st.lists(st.integers(0, 120), max_size=4),
    every=MINUTES,
    lasts=st.none() | st.integers(1, 400),
    grace=MINUTES,
    passed=st.integers(-60, 1000) | st.floats(-60, 1000),
)
def test_the_next_is_the_one_that_a_look_at_each_finds(
    fixed: list[int], every: float, lasts: int | None, grace: float, passed: float
) -> None:
    measurement = line(at_minutes=fixed, every_minutes=every, for_minutes=lasts, grace_minutes=grace)
    now = NOW + timedelta(minutes=passed)
    assert next_due(measurement, NOW, now) == one_by_one(measurement, NOW, now)


def test_the_next_after_four_weeks_is_found_without_a_look_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Mock(side_effect=due)
    monkeypatch.setattr(schedule, "due", looked)
    found = next_due(line(every_minutes=10), NOW, NOW + timedelta(days=28, minutes=6))
    assert found is not None
    assert (found.at, looked.call_count < 5) == (NOW + timedelta(days=28, minutes=10), True)


def test_minutes_count_from_the_dose_where_the_protocol_says_so() -> None:
    first, last, phase = NOW, NOW + timedelta(minutes=5), NOW + timedelta(minutes=9)
    session = {"doses": [{"at": last}, {"at": first}]}
    assert began(session, line(since="first_dose", at_minutes=(40,)), phase) == first
    assert began(session, line(since="last_dose", at_minutes=(40,)), phase) == last
    assert began(session, line(every_minutes=10), phase) == phase
    assert began({"doses": []}, line(since="first_dose", at_minutes=(40,)), phase) == phase


SPO2, BREATH = "59408-5", "9279-1"
BOTH = Combination(sign="both", within_s=60, parts=[Part(sign=SPO2, below=10), Part(sign=BREATH, above=5)])


@pytest.mark.parametrize(
    ("a", "b", "age_s", "count"), [(10, 5, 0, 2), (11, 5, 0, 1), (10, 4, 0, 1), (10, 5, 61, 1), (11, 4, 0, 0)]
)
def test_a_combination_counts_its_findings_of_now(a: float, b: float, age_s: float, count: int) -> None:
    newest = {SPO2: {"m1": (NOW, a)}, BREATH: {"m1": (NOW - timedelta(seconds=age_s), b)}}
    assert BOTH.count(newest, NOW) == count


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"m1": (0, 9), "m2": (1, 97)}, 9),
        ({"m1": (0, 9), "m2": (10, 97)}, 9),
        ({"m1": (0, 9), "m2": (11, 97)}, 97),
        ({"m1": (0, 9), "manual": (1, 97)}, 97),
        ({"m1": (1, 9), "manual": (1, 97)}, 9),
        ({"m1": (2, 9), "manual": (1, 97)}, 9),
        ({"m1": (0, 97), "m2": (1, 98)}, 98),
    ],
)
def test_of_devices_that_differ_the_finding_is_told_while_its_device_is_heard(
    beside: dict[str, tuple[float, float]], told: float
) -> None:
    newest = {device: (NOW + timedelta(seconds=second), value) for device, (second, value) in beside.items()}
    found = Part(sign=SPO2, below=10).telling(newest)
    assert found is not None
    assert found[1] == told


def test_a_combination_is_looked_at_when_it_may_begin_and_while_it_stands() -> None:
    assert concerned([BOTH], SPO2, 10, []) == [BOTH]
    assert concerned([BOTH], SPO2, 11, []) == []
    assert concerned([BOTH], SPO2, 11, ["both"]) == [BOTH]
    assert concerned([BOTH], "8480-6", 0, ["both"]) == []
    assert unit_of("both") == "{count}"


def test_every_combination_of_the_protocol_has_a_rule_and_every_sign_without_a_code_is_one() -> None:
    signs = {rule.sign for rule in ADULT.rules}
    assert {item.sign for item in ADULT.combinations} <= signs
    assert {sign for sign in signs if "-" not in sign} == {item.sign for item in ADULT.combinations} | {
        "moaas",
        "symptoms",
    }


@pytest.mark.parametrize(
    ("phase", "score", "found"),
    [
        ("dosing", 5, set()),
        ("dosing", 4, {("moaas_expected", False)}),
        ("dosing", 2, {("moaas_expected", False), ("moaas_critical", True)}),
        ("recovery", 4, {("moaas_warning", True)}),
        ("recovery", 1, {("moaas_warning", True), ("moaas_critical", True)}),
    ],
)
def test_moaas_by_phase_clinical_md_3_3_and_10(phase: Any, score: int, found: set[tuple[str, bool]]) -> None:
    known = limits(ADULT.rules, phase, {})
    broken = {(item.name, item.rule.pages) for item in known if item.rule.sign == "moaas" and item.breached(score)}
    assert broken == found


def test_news2_triggers_nothing_by_itself_clinical_md_3_4() -> None:
    assert not [rule for rule in ADULT.rules if "news" in rule.sign]


def test_collapse_rules_are_those_below_the_lower_reject_bound_clinical_md_10() -> None:
    assert {rule.name for rule in ADULT.rules if is_collapse(rule)} == {
        "sbp_collapse",
        "hr_collapse",
        "spo2_collapse",
        "rr_collapse",
    }


def test_a_suppressed_limit_is_quiet_until_its_time() -> None:
    found: Limits = limits(ADULT.rules, "dosing", {}, suppressed={"sbp_warning_high": NOW})
    limit = next(item for item in found if item.name == "sbp_warning_high")
    assert limit.quiet(NOW - timedelta(seconds=1))
    assert not limit.quiet(NOW)
