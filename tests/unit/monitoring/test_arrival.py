"""Whatever the order in which the readings of ten seconds arrive: the same breaches, and never fewer alarms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.alarms import RuleState, Transition, evaluate
from services.monitoring.engines import engine_of, states_of
from services.monitoring.episodes import KEPT, SPAN, Point, intervals, step
from services.monitoring.limits import Limit, Limits, Rule, limits
from services.monitoring.vitals import MANUAL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIGN = "8480-6"
WINDOW = 10
Priority = Literal["high", "medium"]
Breach = tuple[datetime, datetime | None]


def limit(priority: Priority, jump: float | None = 40) -> Limits:
    fields = {"name": "r", "sign": SIGN, "above": 180, "delay_s": 5, "hysteresis": 5, "jump": jump}
    return limits([Rule.model_validate(fields | {"priority": priority})], "dosing", {})


def two_tiers(priority: Priority) -> Limits:
    """A milder limit of the same side below it: of a breach of both the graver alarm speaks (ADR 19)."""
    milder = {"name": "milder", "sign": SIGN, "above": 160, "priority": "medium", "delay_s": 8, "hysteresis": 5}
    return limits([Rule.model_validate(milder), *(item.rule for item in limit(priority))], "dosing", {})


@dataclass
class Engine:
    """Keeps the readings as the store does: a rule that rested is given those around it."""

    watched: Limits
    states: dict[str, RuleState] = field(default_factory=dict)
    stored: list[Point] = field(default_factory=list)
    found: list[Transition] = field(default_factory=list)
    breaches: dict[str, list[Breach]] = field(default_factory=dict)

    def takes(self, second: float, value: float) -> None:
        at = NOW + timedelta(seconds=second)
        near = [point for point in self.stored if at - timedelta(seconds=60) <= point[0] <= at + SPAN]
        self.states, found = evaluate(self.states, SIGN, value, at, self.watched, near)
        self.stored.append((at, value, MANUAL))
        self.found += found
        self.breaches = {item.name: self._breaches(item) for item in self.watched}

    def _breaches(self, rule: Limit) -> list[Breach]:
        """As the engine sees them now: what lies before the points that it keeps is final."""
        known, state = self.breaches.get(rule.name, []), self.states.get(rule.name)
        if state is None:
            return known
        course, points = state.track.base, state.track.points
        found = [item for item in known if item[1] is not None and item[1] < points[0][0]]
        for point in points:
            after = step(course, rule, *point)
            if course.since is not None and after.since is None:
                found.append((course.since, point[0]))
            course = after
        return found if course.since is None else [*found, (course.since, None)]

    def restarts(self) -> None:
        self.states = states_of(engine_of("k", self.states, {}))

    @property
    def raised(self) -> list[Transition]:
        return [item for item in self.found if item.kind == "raised"]

    def open_since(self, name: str = "r") -> datetime | None:
        state = self.states.get(name)
        return state.track.head.since if state else None


watches = st.sampled_from([made(priority) for made in (limit, two_tiers) for priority in get_args(Priority)])
levels = st.sampled_from([120.0, 150.0, 157.0, 165.0, 177.0, 181.0, 190.0, 230.0])
values = st.lists(st.tuples(levels, st.integers(1, 12)), min_size=1, max_size=12).map(
    lambda runs: [value for value, seconds in runs for _ in range(seconds)][:50]
)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Point], list[tuple[float, float]]]:
    """A second apart each: in their order, and in one in which none is overtaken by more than ten seconds."""
    taken = [(float(second), value) for second, value in enumerate(draw(values))]
    late = [draw(st.floats(0, WINDOW - 0.01)) for _ in taken]
    order = sorted(range(len(taken)), key=lambda number: (taken[number][0] + late[number], number))
    points = [(NOW + timedelta(seconds=second), value, MANUAL) for second, value in taken]
    return points, [taken[number] for number in order]


def played(watched: Limits, order: Sequence[tuple[float, float]]) -> Engine:
    engine = Engine(watched)
    for second, value in order:
        engine.takes(second, value)
    return engine


@given(arrivals(), watches)
def test_every_breach_is_the_same_in_every_order_of_arrival(
    given_: tuple[list[Point], list[tuple[float, float]]], watched: Limits
) -> None:
    points, order = given_
    assert played(watched, order).breaches == {item.name: intervals(item, points) for item in watched}


@given(arrivals(), st.sampled_from(["high", "medium"]))
def test_alarms_may_be_more_and_never_fewer(
    given_: tuple[list[Point], list[tuple[float, float]]], priority: Priority
) -> None:
    _, order = given_
    in_order, late = played(limit(priority), sorted(order)), played(limit(priority), order)
    assert len(late.raised) >= len(in_order.raised)
    for alarm in in_order.raised:
        assert any(_meets(alarm, other, late) for other in late.raised)


@given(arrivals(), watches)
def test_a_breach_that_lasted_its_delay_has_its_own_alarm_or_a_graver_one_in_every_order(
    given_: tuple[list[Point], list[tuple[float, float]]], watched: Limits
) -> None:
    points, order = given_
    late = played(watched, order)
    for rule in watched:
        for since, end in intervals(rule, points):
            speak = [item for item in late.raised if item.limit == rule or _no_later(item, rule, since)]
            within = [(at, value) for at, value, _ in points if since <= at and (end is None or at < end)]
            broken = [at for at, value in within if rule.breached(value)]
            if (broken[-1] - since).total_seconds() >= rule.rule.delay_s:
                assert any(_stood(late, alarm, since, broken[-1]) for alarm in speak)


def _no_later(alarm: Transition, milder: Limit, since: datetime) -> bool:
    """A graver alarm tells of a milder breach that did not begin before its own (ADR 19)."""
    return alarm.limit.covers(milder) and alarm.state.breach_since <= since


def _stood(engine: Engine, alarm: Transition, since: datetime, until: datetime) -> bool:
    """Whether the alarm did at some moment of this breach; one that latches takes in what is seen later to lie before."""
    ended = [item for item in engine.found if item.kind == "cleared" and item.limit == alarm.limit]
    cleared = [item.at for item in ended if item.at >= alarm.at]
    latest = until + timedelta(seconds=WINDOW) if alarm.limit.rule.priority == "high" else until
    return alarm.state.breach_since <= latest and (not cleared or cleared[0] >= since)


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
