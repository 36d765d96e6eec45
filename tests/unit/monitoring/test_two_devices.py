"""Two devices measure one sign and differ: of both the worse counts, in every order of arrival."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.alarms import RuleState, Transition, evaluate, tick
from services.monitoring.engines import engine_of, states_of
from services.monitoring.episodes import SPAN, Point, intervals
from services.monitoring.limits import Limit, Rule, limits
from services.monitoring.vitals import MANUAL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIGN = "59408-5"
LOW, IN_BAND, WELL = 85.0, 91.0, 97.0
MONITOR, SPARE = "monitor-1", "spare-1"
WINDOW = 10
Measured = tuple[float, float, str]


def limit(**changed: object) -> Limit:
    fields = {"name": "r", "sign": SIGN, "below": 89.9, "priority": "medium", "delay_s": 5, "hysteresis": 2}
    return limits([Rule.model_validate(fields | changed)], "dosing", {})[0]


@dataclass
class Engine:
    """A rule that rested is given the readings around, as the store has them."""

    rule: Limit = field(default_factory=limit)
    states: dict[str, RuleState] = field(default_factory=dict)
    stored: list[Point] = field(default_factory=list)
    found: list[Transition] = field(default_factory=list)

    def takes(self, second: float, value: float, device: str) -> None:
        at = _at(second)
        near = [point for point in self.stored if at - timedelta(seconds=60) <= point[0] <= at + SPAN]
        self.states, found = evaluate(self.states, SIGN, value, at, [self.rule], near, device)
        self.stored.append((at, value, device))
        self.found += found

    def ticks(self, second: float) -> None:
        self.states, found = tick(self.states, _at(second), [self.rule])
        self.found += found

    def restarts(self) -> None:
        self.states = states_of(engine_of("k", self.states, {}))

    @property
    def told(self) -> list[str]:
        return [item.kind for item in self.found]

    def open_since(self) -> datetime | None:
        state = self.states.get("r")
        return state.track.head.since if state else None


def _at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def played(rule: Limit, order: list[Measured]) -> Engine:
    engine = Engine(rule)
    for measured in order:
        engine.takes(*measured)
    return engine


def beside_each_other(seconds: int, of_monitor: float, of_spare: float) -> list[Measured]:
    pairs = [((second, of_monitor, MONITOR), (second + 0.5, of_spare, SPARE)) for second in range(seconds)]
    return [measured for pair in pairs for measured in pair]


def test_a_breach_that_one_device_sees_alarms_though_another_device_sees_none() -> None:
    assert played(limit(), beside_each_other(6, LOW, WELL)).told == ["raised"]


def test_an_alarm_stands_while_its_device_sees_the_breach_whatever_another_says() -> None:
    assert played(limit(), beside_each_other(60, LOW, WELL)).told == ["raised"]


def test_an_alarm_is_over_when_its_own_device_is_back() -> None:
    assert played(limit(), [*beside_each_other(6, LOW, WELL), (6, WELL, MONITOR)]).told == ["raised", "cleared"]


def test_an_alarm_is_over_only_when_both_devices_are_back() -> None:
    both = beside_each_other(6, LOW, LOW)
    assert played(limit(), [*both, (6, WELL, MONITOR)]).told == ["raised"]
    assert played(limit(), [*both, (6, WELL, MONITOR), (6.5, WELL, SPARE)]).told == ["raised", "cleared"]


def test_a_device_within_the_hysteresis_keeps_its_alarm_beside_one_that_is_well() -> None:
    assert played(limit(), [*beside_each_other(6, LOW, WELL), (6, IN_BAND, MONITOR), (6.5, WELL, SPARE)]).told == [
        "raised"
    ]


def test_what_a_human_measures_ends_what_a_device_measured_before() -> None:
    assert played(limit(), [*beside_each_other(6, LOW, WELL), (6, WELL, MANUAL)]).told == ["raised", "cleared"]


def test_a_value_by_hand_of_the_same_moment_ends_nothing() -> None:
    assert played(limit(), [*beside_each_other(6, LOW, WELL), (5, WELL, MANUAL)]).told == ["raised"]


def test_a_device_that_was_taken_away_holds_its_breach_for_ten_seconds() -> None:
    engine = played(limit(), beside_each_other(6, LOW, WELL))
    engine.takes(14.5, WELL, SPARE)
    assert engine.told == ["raised"]
    engine.takes(15.5, WELL, SPARE)
    assert engine.told == ["raised", "cleared"]


@pytest.mark.parametrize("delay_s", [0, 5, 9, 10, 15, 60])
def test_a_slow_devices_breach_alarms_after_its_delay_beside_a_quick_one_that_sees_none(delay_s: int) -> None:
    quick = [(second + 0.5, WELL, SPARE) for second in range(delay_s + 1)]
    engine = played(limit(delay_s=delay_s), [(0, LOW, MONITOR), *quick[:-1]])
    assert engine.told == ["raised"] * (delay_s == 0)
    engine.takes(*quick[-1])
    assert engine.told == ["raised"]


def test_and_is_over_when_that_device_is_not_heard_for_as_long_again() -> None:
    quick = [(second + 0.5, WELL, SPARE) for second in range(20)]
    assert played(limit(delay_s=15), [(0, LOW, MONITOR), *quick]).told == ["raised", "cleared"]


def test_a_spike_of_one_device_is_over_with_its_next_value() -> None:
    engine = played(limit(), [(0, LOW, MONITOR), (0.5, WELL, SPARE), (1, WELL, MONITOR)])
    assert engine.open_since() is None


def test_two_values_of_one_moment_are_both_kept() -> None:
    at_once = [
        (float(second), value, device) for second in range(6) for device, value in ((MONITOR, LOW), (SPARE, WELL))
    ]
    assert played(limit(), at_once).told == ["raised"]


def test_the_other_devices_values_are_no_jump_back() -> None:
    """A fall of the monitor is compared with its own value, not with the spare's between."""
    engine = played(limit(jump=8, delay_s=60), [(0, 89, MONITOR), (0.5, WELL, SPARE), (1, 88, MONITOR)])
    assert engine.told == []


def test_a_leap_of_one_device_needs_no_delay_whatever_another_said_between() -> None:
    engine = played(limit(jump=8), [(0, WELL, MONITOR), (0.5, IN_BAND, SPARE), (1, LOW, MONITOR)])
    assert engine.told == ["raised"]


@pytest.mark.parametrize("beside", [WELL, IN_BAND])
def test_the_value_that_counts_is_that_of_the_breach(beside: float) -> None:
    engine = played(limit(), [*beside_each_other(6, LOW, beside)])
    assert engine.states["r"].value == LOW


def test_of_one_moment_the_worst_is_first_on_either_side() -> None:
    for bounds, low, well in (({"below": 89.9}, LOW, WELL), ({"below": None, "above": 100}, 110.0, 90.0)):
        engine = played(limit(**bounds), [(float(second), low, MONITOR) for second in range(6)][:-1])
        engine.takes(4, well, MANUAL)
        engine.takes(5, low, MONITOR)
        assert engine.told == ["raised"]


def test_one_episode_is_told_once_though_its_end_came_long_after_its_newest_breach() -> None:
    order = [(0, LOW, MONITOR), (15, WELL, SPARE), (15.5, WELL, SPARE), (26, WELL, SPARE), (32, WELL, SPARE)]
    engine = played(limit(delay_s=15), order)
    assert engine.told == ["raised", "cleared"]
    engine.takes(33, LOW, MONITOR)
    engine.takes(15.2, WELL, SPARE)
    assert engine.told == ["raised", "cleared"]


def test_what_former_code_kept_names_no_device_and_any_value_ends_it() -> None:
    engine = played(limit(), beside_each_other(6, LOW, WELL))
    kept = engine_of("k", engine.states, {})
    del kept["devices"]
    engine.states = states_of(kept)
    engine.takes(6, WELL, SPARE)
    assert engine.told == ["raised", "cleared"]


def test_what_former_code_reads_of_an_alarm_for_which_help_was_called_is_as_it_was() -> None:
    """It takes no other field of a track than its own."""
    engine = played(limit(), beside_each_other(6, LOW, WELL))
    helped = {name: replace(state, help_asked=True) for name, state in engine.states.items()}
    before, now = engine_of("k", engine.states, {}), engine_of("k", helped, {})
    assert {**now, "help_asked": []} == before
    assert states_of(now) == helped
    del before["help_asked"]
    assert states_of(before) == engine.states


others = st.lists(st.tuples(st.floats(0, 20), st.sampled_from([LOW, IN_BAND, WELL])), max_size=40)


@given(others, st.sampled_from(["high", "medium"]), st.sampled_from([1, 2, 5]))
def test_no_breach_that_outlasts_its_delay_is_silent_whatever_another_device_says(
    spare: list[tuple[float, float]], priority: str, every_s: int
) -> None:
    measured = [(float(second), LOW, MONITOR) for second in range(0, 21, every_s)]
    engine = played(limit(priority=priority), sorted(measured + [(second, value, SPARE) for second, value in spare]))
    standing = {"raised": 1, "cleared": -1, "renewed": 0}
    assert sum(standing[item.kind] for item in engine.found) == 1
    assert engine.found[0].kind == "raised"
    assert engine.found[0].at <= _at(-(-5 // every_s) * every_s)


@given(st.integers(11, 90), st.sampled_from([9, 10, 15]), st.floats(0, 0.99))
def test_nor_where_its_device_measures_seldom(every_s: int, delay_s: int, offset: float) -> None:
    seldom = [(float(second), LOW, MONITOR) for second in range(0, 180, every_s)]
    often = [(second + offset, WELL, SPARE) for second in range(181)]
    engine = played(limit(delay_s=delay_s), sorted(seldom + often))
    raised = [item.at for item in engine.found if item.kind == "raised"]
    cleared = [item.at for item in engine.found if item.kind == "cleared"] + [_at(181)] * len(raised)
    for second, _, _ in seldom[: -1 - delay_s // every_s]:
        by_then = _at(second + delay_s + 1)
        assert any(begin <= by_then and _at(second) <= end for begin, end in zip(raised, cleared, strict=False))


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Measured], list[Measured]]:
    """Two devices and a hand, each at most once a moment; in their order, and with none overtaken by more than ten seconds."""
    values = st.sampled_from([LOW, IN_BAND, WELL])
    keys = st.tuples(st.integers(0, 40).map(lambda half: half / 2), st.sampled_from([MONITOR, SPARE, MANUAL]))
    found = draw(st.dictionaries(keys, values, min_size=1, max_size=40))
    taken = sorted((second, value, device) for (second, device), value in found.items())
    late = [draw(st.floats(0, WINDOW - 0.01)) for _ in taken]
    order = sorted(range(len(taken)), key=lambda number: (taken[number][0] + late[number], number))
    return taken, [taken[number] for number in order]


@given(arrivals(), st.sampled_from(["high", "medium"]))
def test_the_open_breach_is_the_same_in_every_order_of_arrival(
    given_: tuple[list[Measured], list[Measured]], priority: str
) -> None:
    taken, order = given_
    rule = limit(priority=priority)
    found = intervals(rule, [(_at(second), value, device) for second, value, device in taken])
    still = found[-1][0] if found and found[-1][1] is None else None
    assert played(rule, order).open_since() == still


@given(arrivals(), st.sets(st.integers(0, 40)))
def test_a_restart_at_any_point_changes_nothing(given_: tuple[list[Measured], list[Measured]], stops: set[int]) -> None:
    whole, restarted = Engine(), Engine()
    for number, measured in enumerate(given_[1]):
        if number in stops:
            restarted.restarts()
        whole.takes(*measured)
        restarted.takes(*measured)
        assert whole.states == restarted.states
    assert whole.found == restarted.found
