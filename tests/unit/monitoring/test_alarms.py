"""The alarm engine: never silent on a sustained breach, one alarm per episode, never withdrawn, only cleared."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.alarms import RENEW_AFTER, RuleState, Transition, acknowledge, evaluate, tick
from services.monitoring.limits import Limit, Rule, limits
from services.monitoring.vitals import MANUAL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SYSTOLIC = "8480-6"


def rule(**changed: object) -> Rule:
    fields = {"name": "high", "sign": SYSTOLIC, "above": 180, "priority": "high", "delay_s": 5, "hysteresis": 5}
    return Rule.model_validate(fields | changed)


def limit(**changed: object) -> Limit:
    return limits([rule(**changed)], "dosing", {})[0]


class Bed:
    """One session's engine, fed by hand; `log` holds the kinds of its transitions."""

    def __init__(self, *watched: Limit) -> None:
        self.limits: Sequence[Limit] = watched
        self.states: dict[str, RuleState] = {}
        self.seen: list[Transition] = []

    def reads(self, value: float, second: float, previous: float | None = None) -> "Bed":
        at = NOW + timedelta(seconds=second)
        earlier = [] if previous is None else [(at - timedelta(seconds=1), previous, MANUAL)]
        self.states, found = evaluate(self.states, SYSTOLIC, value, at, self.limits, earlier)
        self.seen += found
        return self

    def waits_until(self, second: float) -> "Bed":
        self.states, found = tick(self.states, NOW + timedelta(seconds=second), self.limits)
        self.seen += found
        return self

    def is_acknowledged(self, second: float, name: str = "high") -> "Bed":
        (accepted,) = (limit for limit in self.limits if limit.name == name)
        self.states, found = acknowledge(self.states, accepted, NOW + timedelta(seconds=second))
        self.seen += found
        return self

    @property
    def log(self) -> list[str]:
        return [transition.kind for transition in self.seen]


def test_a_breach_alarms_when_its_delay_has_passed() -> None:
    bed = Bed(limit()).reads(190, 0).reads(190, 4.9)
    assert bed.log == []
    assert bed.reads(190, 5).log == ["raised"]


def test_the_delay_ends_without_another_reading_too() -> None:
    assert Bed(limit()).reads(190, 0).waits_until(4).log == []
    assert Bed(limit()).reads(190, 0).waits_until(5).log == ["raised"]


def test_a_tick_leaves_a_sign_that_is_read_every_second_to_its_readings() -> None:
    bed = Bed(limit()).reads(190, 0).reads(190, 4)
    assert bed.waits_until(5.5).log == []
    assert bed.waits_until(6).log == ["raised"]


def test_a_short_spike_does_not_alarm_and_starts_anew() -> None:
    bed = Bed(limit()).reads(190, 0).reads(150, 3).reads(190, 4).reads(190, 8)
    assert bed.log == []


def test_a_jump_bypasses_the_delay() -> None:
    assert Bed(limit(jump=40)).reads(190, 0, previous=130).log == ["raised"]
    assert Bed(limit(jump=40)).reads(190, 0, previous=160).log == []


def test_high_priority_latches_until_acknowledged() -> None:
    bed = Bed(limit()).reads(190, 0).reads(190, 5).reads(120, 6)
    assert bed.log == ["raised"]
    assert bed.is_acknowledged(7).log == ["raised", "cleared"]


def test_medium_priority_clears_by_itself_below_the_hysteresis() -> None:
    bed = Bed(limit(priority="medium")).reads(190, 0).reads(190, 5).reads(177, 6)
    assert bed.log == ["raised"]
    assert bed.reads(174, 7).log == ["raised", "cleared"]


def test_acknowledged_and_still_true_is_renewed_after_three_minutes() -> None:
    again = RENEW_AFTER.total_seconds()
    bed = Bed(limit()).reads(190, 0).reads(190, 5).is_acknowledged(10).reads(191, 10 + again - 1)
    assert bed.log == ["raised"]
    assert bed.reads(191, 10 + again).log == ["raised", "renewed"]
    assert bed.reads(191, 10 + again + 1).log == ["raised", "renewed"]


def test_a_collapse_stays_until_the_sign_was_normal_for_a_minute_and_somebody_accepted() -> None:
    bed = Bed(limit(above=None, below=39.9, delay_s=0, hysteresis=0, normal_s=60)).reads(0, 0)
    assert bed.log == ["raised"]
    bed.is_acknowledged(5).reads(110, 10).reads(110, 69)
    assert bed.log == ["raised"]
    assert bed.waits_until(71).log == ["raised", "cleared"]


def test_a_suppressed_rule_raises_nothing_and_tells_what_outlasts_the_suppression() -> None:
    quiet = limits([rule()], "dosing", {}, suppressed={"high": NOW + timedelta(seconds=60)})[0]
    bed = Bed(quiet).reads(190, 0).reads(190, 30).waits_until(59)
    assert bed.log == []
    assert bed.waits_until(60).log == ["raised"]


def test_a_suppressed_rule_is_not_renewed() -> None:
    bed = Bed(limit()).reads(190, 0).reads(190, 5).is_acknowledged(10)
    bed.limits = limits([rule()], "dosing", {}, suppressed={"high": NOW + timedelta(seconds=300)})
    assert bed.reads(190, 250).log == ["raised"]
    assert bed.reads(190, 300).log == ["raised", "renewed"]


def test_a_late_tick_changes_nothing_that_was_told() -> None:
    bed = Bed(limit(priority="medium")).reads(190, 0).reads(190, 5).reads(120, 6).waits_until(20)
    assert bed.log == ["raised", "cleared"]


WARNING = {"name": "warning", "above": 160, "priority": "medium", "delay_s": 15}


def two_tiers(**changed: object) -> Bed:
    """The graver tier comes last in the protocol: the order of its lines says nothing."""
    return Bed(*limits([rule(**WARNING), rule(jump=40, **changed)], "dosing", {}))


def test_a_leap_beyond_both_tiers_is_one_alarm_of_the_graver() -> None:
    bed = two_tiers().reads(190, 0, previous=120).reads(191, 5).reads(192, 16).waits_until(30)
    assert [item.limit.name for item in bed.seen] == ["high"]


def test_a_milder_breach_that_began_before_the_graver_has_an_alarm_of_its_own() -> None:
    bed = two_tiers().reads(170, 0).reads(190, 4).reads(190, 9).reads(190, 15)
    assert [item.limit.name for item in bed.seen] == ["high", "warning"]


def test_what_outlasts_the_graver_alarm_is_told_by_the_milder() -> None:
    bed = two_tiers().reads(190, 0, previous=120).reads(170, 10).reads(170, 20)
    assert [item.limit.name for item in bed.seen] == ["high"]
    bed.is_acknowledged(21).reads(170, 22)
    assert [(item.limit.name, item.kind) for item in bed.seen[1:]] == [("high", "cleared"), ("warning", "raised")]


def test_a_graver_alarm_that_was_accepted_and_is_true_no_more_speaks_for_no_other() -> None:
    """Within its hysteresis it stands and is not told again: the milder breach would be silent for good."""
    bed = two_tiers().reads(190, 0, previous=120).is_acknowledged(10).reads(178, 20)
    assert [(item.limit.name, item.kind) for item in bed.seen] == [("high", "raised"), ("warning", "raised")]


def test_a_rule_that_is_quiet_speaks_for_no_other() -> None:
    rules = [rule(**WARNING), rule(jump=40)]
    bed = two_tiers().reads(190, 0, previous=120)
    bed.limits = limits(rules, "dosing", {}, suppressed={"high": NOW + timedelta(seconds=180)})
    assert [item.limit.name for item in bed.reads(190, 16).seen] == ["high", "warning"]


def test_a_milder_priority_a_shown_only_rule_and_the_other_side_cover_nothing() -> None:
    milder = limits([rule(**WARNING), rule(priority="low")], "dosing", {})
    shown = limits([rule(**WARNING), rule(pages=False)], "dosing", {})
    low = limits([rule(**WARNING | {"above": None, "below": 100}), rule()], "dosing", {})
    for watched in (milder, shown, low):
        assert watched.covering == {"warning": (), "high": ()}


def test_a_relative_limit_needs_a_baseline() -> None:
    fall = rule(above=None, fall_percent=30)
    assert limits([fall], "dosing", {}) == ()
    found = limits([fall], "dosing", {SYSTOLIC: 120})[0]
    assert (found.bound, found.high) == (84.0, False)


def test_a_sessions_own_bound_of_a_relative_rule_needs_no_baseline() -> None:
    fall = rule(above=None, fall_percent=30)
    assert limits([fall], "baseline", {}, {"high": 55})[0].bound == 55


def test_a_rule_holds_in_its_phases_only_and_a_session_may_have_its_own_bound() -> None:
    dosing = rule(phases=("dosing",))
    assert limits([dosing], "recovery", {}) == ()
    assert limits([dosing], "dosing", {}, {"high": 200})[0].bound == 200


readings = st.lists(st.tuples(st.integers(60, 240), st.integers(1, 30)), max_size=60)


@given(readings)
def test_a_breach_that_outlasts_its_delay_is_never_silent(steps: list[tuple[int, int]]) -> None:
    bed, second, since = Bed(limit()), 0.0, None
    for value, pause in steps:
        second += pause
        bed.reads(value, second)
        since = (since if since is not None else second) if value >= 180 else None
        if since is not None and second - since >= 5:
            state = bed.states["high"]
            assert state.raised_at is not None


@given(readings, st.lists(st.integers(0, 60), max_size=8))
def test_a_breach_that_outlasts_its_delay_has_its_own_alarm_or_a_graver_one(
    steps: list[tuple[int, int]], accepted: list[int]
) -> None:
    bed, second = two_tiers(), 0.0
    since: dict[str, float] = {}
    for number, (value, pause) in enumerate(steps):
        second += pause
        bed.reads(value, second)
        for watched in bed.limits:
            name = watched.name
            since = since | {name: since.get(name, second)} if watched.breached(value) else _without(since, name)
            if name in since and second - since[name] >= watched.rule.delay_s:
                speak = [state for key, state in bed.states.items() if key == name and state.raised_at]
                for graver in (item for item in bed.limits if item.covers(watched) and item.name in bed.states):
                    state = bed.states[graver.name]
                    told_again = state.acknowledged_at is None or graver.breached(value)
                    speak += [state] if state.raised_at and told_again else []
                assert speak
        if number in accepted:
            bed.is_acknowledged(second, "high").is_acknowledged(second, "warning")


def _without(since: dict[str, float], name: str) -> dict[str, float]:
    return {key: value for key, value in since.items() if key != name}


@given(readings, st.lists(st.integers(0, 60), max_size=8))
def test_alarms_are_raised_and_cleared_in_turns(steps: list[tuple[int, int]], accepted: list[int]) -> None:
    bed, second = Bed(limit()), 0.0
    for number, (value, pause) in enumerate(steps):
        second += pause
        bed.reads(value, second)
        if number in accepted:
            bed.is_acknowledged(second)
    kinds = [kind for kind in bed.log if kind != "renewed"]
    assert kinds == ["raised" if number % 2 == 0 else "cleared" for number in range(len(kinds))]


@given(readings, st.integers(0, 60))
def test_a_restart_at_any_point_changes_nothing(steps: list[tuple[int, int]], stop: int) -> None:
    whole, second, restarted = Bed(limit()), 0.0, Bed(limit())
    for number, (value, pause) in enumerate(steps):
        second += pause
        whole.reads(value, second)
        if number == stop:
            fresh = Bed(limit())
            fresh.states, fresh.seen = dict(restarted.states), restarted.seen
            restarted = fresh
        restarted.reads(value, second)
    assert (whole.log, whole.states) == (restarted.log, restarted.states)
