"""Whatever the order in which the readings of ten seconds arrive: the same breaches, and never fewer alarms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.alarms import RuleState, Transition, evaluate
from services.monitoring.engines import engine_of, states_of
from services.monitoring.episodes import KEPT, SPAN, Point, intervals
from services.monitoring.limits import Limit, Rule, limits
from services.monitoring.signals import MANUAL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIGN = "8480-6"
WINDOW = 10
Priority = Literal["high", "medium"]


def limit(priority: Priority, jump: float | None = 40) -> Limit:
    fields = {"name": "r", "sign": SIGN, "above": 180, "delay_s": 5, "hysteresis": 5, "jump": jump}
    return limits([Rule.model_validate(fields | {"priority": priority})], "dosing", {})[0]


@dataclass
class Engine:
    """Keeps the readings as the store does: a rule that rested is given those around it."""

    rule: Limit
    states: dict[str, RuleState] = field(default_factory=dict)
    stored: list[Point] = field(default_factory=list)
    found: list[Transition] = field(default_factory=list)

    def takes(self, second: float, value: float) -> None:
        at = NOW + timedelta(seconds=second)
        near = [point for point in self.stored if at - timedelta(seconds=60) <= point[0] <= at + SPAN]
        self.states, found = evaluate(self.states, SIGN, value, at, [self.rule], near)
        self.stored.append((at, value, MANUAL))
        self.found += found

    def restarts(self) -> None:
        self.states = states_of(engine_of("k", self.states, {}))

    @property
    def raised(self) -> list[Transition]:
        return [item for item in self.found if item.kind == "raised"]

    def open_since(self) -> datetime | None:
        state = self.states.get("r")
        return state.track.head.since if state else None


values = st.lists(st.sampled_from([120.0, 150.0, 177.0, 181.0, 190.0, 230.0]), min_size=1, max_size=50)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Point], list[tuple[float, float]]]:
    """A second apart each: in their order, and in one in which none is overtaken by more than ten seconds."""
    taken = [(float(second), value) for second, value in enumerate(draw(values))]
    late = [draw(st.floats(0, WINDOW - 0.01)) for _ in taken]
    order = sorted(range(len(taken)), key=lambda number: (taken[number][0] + late[number], number))
    points = [(NOW + timedelta(seconds=second), value, MANUAL) for second, value in taken]
    return points, [taken[number] for number in order]


def played(rule: Limit, order: Sequence[tuple[float, float]]) -> Engine:
    engine = Engine(rule)
    for second, value in order:
        engine.takes(second, value)
    return engine


@given(arrivals(), st.sampled_from(["high", "medium"]))
def test_the_breaches_are_the_same_in_every_order_of_arrival(
    given_: tuple[list[Point], list[tuple[float, float]]], priority: Priority
) -> None:
    points, order = given_
    rule = limit(priority)
    found = intervals(rule, points)
    still = found[-1][0] if found and found[-1][1] is None else None
    assert played(rule, order).open_since() == still


@given(arrivals(), st.sampled_from(["high", "medium"]))
def test_alarms_may_be_more_and_never_fewer(
    given_: tuple[list[Point], list[tuple[float, float]]], priority: Priority
) -> None:
    _, order = given_
    rule = limit(priority)
    in_order, late = played(rule, sorted(order)), played(rule, order)
    assert len(late.raised) >= len(in_order.raised)
    for alarm in in_order.raised:
        assert any(_meets(alarm, other, late) for other in late.raised)


def _meets(alarm: Transition, other: Transition, engine: Engine) -> bool:
    """Whether the other alarm stood in the breach of this one."""
    cleared = [item.at for item in engine.found if item.kind == "cleared" and item.at >= other.at]
    return other.state.breach_since <= alarm.taken_at + timedelta(seconds=WINDOW) and (
        not cleared or cleared[0] >= alarm.state.breach_since
    )


@given(arrivals(), st.sampled_from(["high", "medium"]))
def test_a_raised_alarm_is_never_withdrawn_only_cleared(
    given_: tuple[list[Point], list[tuple[float, float]]], priority: Priority
) -> None:
    engine = Engine(limit(priority))
    standing = 0
    for second, value in given_[1]:
        before = len(engine.found)
        engine.takes(second, value)
        for item in engine.found[before:]:
            if not item.over:
                standing += {"raised": 1, "cleared": -1, "renewed": 0}[item.kind]
        assert standing == sum(state.raised_at is not None for state in engine.states.values())
        assert standing in (0, 1)


@given(arrivals(), st.sampled_from(["high", "medium"]), st.sets(st.integers(0, 50)))
def test_restarts_at_any_points_change_nothing_in_any_order_of_arrival(
    given_: tuple[list[Point], list[tuple[float, float]]], priority: Priority, stops: set[int]
) -> None:
    whole, restarted = Engine(limit(priority)), Engine(limit(priority))
    for number, (second, value) in enumerate(given_[1]):
        if number in stops:
            restarted.restarts()
        whole.takes(second, value)
        restarted.takes(second, value)
        assert whole.states == restarted.states
    assert whole.found == restarted.found


@given(arrivals(), st.sampled_from(["high", "medium"]))
def test_every_alarm_has_a_name_of_its_own(
    given_: tuple[list[Point], list[tuple[float, float]]], priority: Priority
) -> None:
    raised = played(limit(priority), given_[1]).raised
    assert len({item.state.breach_since for item in raised}) == len(raised)


def test_the_end_of_a_breach_that_came_late_takes_no_alarm_back() -> None:
    engine = played(limit("high", None), [(0, 190), (1, 190), (2, 190), (4, 190), (5, 190), (3, 120)])
    assert [item.kind for item in engine.found] == ["raised"]
    assert engine.open_since() == NOW + timedelta(seconds=4)


def test_a_breach_that_came_after_its_end_is_told_and_over() -> None:
    engine = played(limit("medium", None), [(6, 120), (0, 190), (1, 190), (5, 190)])
    assert [item.kind for item in engine.found] == ["raised", "cleared"]
    assert engine.open_since() is None


def test_an_episode_before_the_one_that_stands_is_told_and_the_alarm_stands() -> None:
    order = [(0, 190), (4, 190), (6, 120), (7, 190), (12, 190), (5, 190)]
    engine = played(limit("medium", None), order)
    assert [(item.kind, item.over) for item in engine.found] == [("raised", False), ("raised", True)]


def test_a_jump_that_is_seen_only_by_a_late_reading_alarms() -> None:
    engine = played(limit("high"), [(1, 170), (5, 190), (6, 120), (4, 130)])
    assert [item.kind for item in engine.found] == ["raised"]


def test_a_breach_that_goes_on_after_its_end_was_contradicted_is_told_again() -> None:
    order = [(0, 190), (5, 190), (6, 120), (6, 190), (7, 190), (10, 190)]
    engine = played(limit("medium", None), order)
    assert [item.kind for item in engine.found] == ["raised", "cleared"]
    engine.takes(11, 190)
    assert [item.kind for item in engine.found] == ["raised", "cleared", "raised"]
    assert engine.raised[1].state.breach_since == NOW + timedelta(seconds=6)


def test_a_flood_keeps_no_more_than_its_share() -> None:
    engine = played(limit("high"), [(number / 1000, 190) for number in range(1000)])
    assert len(engine.states["r"].track.points) == KEPT
    assert engine.open_since() == NOW
