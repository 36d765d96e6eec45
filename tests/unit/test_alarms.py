"""The alarm engine. Limits: clinical.md 3.3 and 10 (CFG)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.monitoring
from services.monitoring.alarms import RuleState, Transition, acknowledge, evaluate
from services.monitoring.model import SessionProtocol
from shared.protocols import load

PROTOCOL = load(Path(services.monitoring.__file__).parent / "protocols" / "iv.yaml", SessionProtocol)
START = datetime(2026, 1, 1, tzinfo=UTC)
SYSTOLIC = "8480-6"


def run(values: Sequence[float], sign: str = SYSTOLIC) -> tuple[dict[str, RuleState], list[Transition]]:
    """One reading a second."""
    states: dict[str, RuleState] = {}
    seen: list[Transition] = []
    for second, value in enumerate(values):
        states, transitions = evaluate(states, sign, value, START + timedelta(seconds=second), PROTOCOL.rules)
        seen += transitions
    return states, seen


@pytest.mark.parametrize(
    ("sign", "value", "rule"),
    [
        pytest.param("8480-6", 180, "sbp_critical_high", id="clinical.md 3.3: SBP >= 180 critical"),
        pytest.param("8480-6", 90, "sbp_critical_low", id="clinical.md 3.3: SBP < 90 critical"),
        pytest.param("8462-4", 110, "dbp_critical_high", id="clinical.md 3.3: DBP >= 110 critical"),
        pytest.param("8867-4", 0, "hr_critical_low", id="clinical.md 10: zero is a finding"),
        pytest.param("59408-5", 0, "spo2_critical_low", id="clinical.md 10: SpO2 zero is a finding"),
        pytest.param("9279-1", 8, "rr_critical_low", id="clinical.md 3.3: RR < 8 critical"),
    ],
)
def test_a_sustained_breach_raises_its_rule(sign: str, value: float, rule: str) -> None:
    _, seen = run([value] * 7, sign)
    assert rule in {transition.rule.name for transition in seen if transition.kind == "raised"}


@pytest.mark.parametrize("value", [91, 120, 159])
def test_a_value_within_the_limits_is_silent(value: float) -> None:
    assert run([value] * 60) == ({}, [])


def test_a_breach_shorter_than_the_delay_is_silent() -> None:
    assert run([192] * 4 + [130]) == ({}, [])


@given(st.lists(st.floats(181, 299), min_size=6, max_size=60))
def test_never_silent_on_a_breach_longer_than_the_delay_and_one_alarm_per_episode(values: list[float]) -> None:
    _, seen = run(values)
    assert [t.rule.name for t in seen].count("sbp_critical_high") == 1


@given(st.lists(st.floats(60, 250), max_size=80), st.integers(0, 80))
def test_a_restart_at_any_point_changes_nothing(values: list[float], cut: int) -> None:
    whole = run(values)
    states, seen = run(values[:cut])
    for second, value in list(enumerate(values))[cut:]:
        kept = {name: RuleState(**vars(state)) for name, state in states.items()}
        states, more = evaluate(kept, SYSTOLIC, value, START + timedelta(seconds=second), PROTOCOL.rules)
        seen += more
    assert (states, seen) == whole


def test_a_high_alarm_latches_until_it_was_acknowledged() -> None:
    states, seen = run([192] * 7 + [130] * 30)
    assert not [t for t in seen if t.kind == "cleared" and t.rule.priority == "high"]
    rule = next(rule for rule in PROTOCOL.rules if rule.name == "sbp_critical_high")
    _, transition = acknowledge(states[rule.name], rule, 130, START)
    assert transition is not None
    assert transition.kind == "cleared"
