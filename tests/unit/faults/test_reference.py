"""The reference model of the fault runs: what must alarm, what may, what may not."""

from pathlib import Path

import pytest

from services import monitoring
from services.monitoring.limits import LimitSet, limits
from shared.protocols import load
from tests.faults.history import Reading
from tests.faults.reference import BREATH, PULSE, RULES, SPO2, SYSTOLIC, expected

T = 1_760_000_000.0


def series(sign: str, *values: float, every_s: float = 1.0, late_s: float = 0.05) -> list[Reading]:
    taken = [T + number * every_s for number in range(len(values))]
    return [Reading("r", "s", sign, value, at, at + late_s) for value, at in zip(values, taken, strict=True)]


@pytest.mark.parametrize(
    ("readings", "must"),
    [
        (series(SPO2, 98, 85, 98, 0, 98), {"spo2_critical_low", "spo2_collapse"}),
        (series(SPO2, 98, 85, 98), {"spo2_critical_low"}),
        (series(SPO2, 92, 88, 98), set()),
        (series(PULSE, 70, *[36] * 8, 70), {"hr_critical_low"}),
        (series(PULSE, 70, *[36] * 4, 70), set()),
        (series(SYSTOLIC, 120, 190, 120), {"sbp_critical_high"}),
        (series(BREATH, 14, 32, 14), set()),
    ],
)
def test_what_must_alarm(readings: list[Reading], must: set[str]) -> None:
    found = expected(readings)
    assert {rule for (_, rule), due in found.items() if due is not None} == must
    assert set(found) == {("s", rule) for rule in must}


def test_a_collapse_tells_of_the_milder_breach_that_began_with_it() -> None:
    found = expected(series(SPO2, 98, 0, 98))
    assert found == {("s", "spo2_collapse"): T + 1.05, ("s", "spo2_critical_low"): None}


def test_where_lateness_leaves_it_open_the_alarm_may_be_there() -> None:
    late = series(PULSE, 70, *[36] * 4, 70, late_s=30)
    assert expected(late) == {("s", rule): None for rule in ("hr_critical_low", "hr_warning_low", "hr_fall")}
    unacknowledged = Reading("r", "s", SPO2, 0, T)
    assert expected([unacknowledged])["s", "spo2_collapse"] is None


def test_an_episode_of_a_backlog_is_due_when_its_last_reading_is_known() -> None:
    late = series(PULSE, 70, *[36] * 8, 70, late_s=30)
    late[3].acknowledged_at = T + 40
    assert expected(late)["s", "hr_critical_low"] == T + 40


def test_the_limits_are_those_of_the_protocol() -> None:
    (path,) = (Path(monitoring.__file__).parent / "protocols" / "limits").glob("*.yaml")
    adult = load(path, LimitSet)
    known = limits(adult.rules, "dosing", {PULSE: 70, SYSTOLIC: 120})
    ours = {rule.name: (rule.sign, rule.high, rule.bound, rule.delay_s, rule.jump) for rule in RULES}
    theirs = {item.name: (item.rule.sign, item.high, item.bound, item.rule.delay_s, item.rule.jump) for item in known}
    sent = {rule.sign for rule in RULES}
    assert ours == {name: row for name, row in theirs.items() if row[0] in sent}
