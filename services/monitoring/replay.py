"""One limit's readings judged once more from the first on, as the engine and its ticks would have judged them. Pure."""

from collections.abc import Sequence
from datetime import datetime

from services.monitoring.alarms import RuleState, Told, Transition, evaluate, tick
from services.monitoring.episodes import AT_REST, Point, Track, advance
from services.monitoring.limits import Limit, Limits


def replay(
    points: Sequence[Point], limit: Limit, told: tuple[Told, ...], now: datetime
) -> tuple[RuleState | None, Transition | None]:
    """The state at `now`, and the newest alarm that these readings raise. `told`: when alarms stood that tell of them.

    The limit is alone, for nobody accepts an alarm in a replay: that of a graver limit would speak for ever (ADR 19).
    """
    alone = Limits((limit,))
    states: dict[str, RuleState] = {}
    raised: list[Transition] = []
    before: list[Point] = []
    for at, value, device in points:
        states, by_time = tick(states, at, alone)
        if told and limit.name not in states:
            states = {limit.name: _at_rest(limit, told, before)}
        states, found = evaluate(states, limit.rule.sign, value, at, alone, before, device)
        raised += by_time + found
        before = [(at, value, device)]
    states, by_time = tick(states, now, alone)
    newest = [item for item in (*raised, *by_time) if item.kind == "raised" and not item.over]
    return states.get(limit.name), newest[-1] if newest else None


def _at_rest(limit: Limit, told: tuple[Told, ...], before: Sequence[Point]) -> RuleState:
    track = Track(AT_REST, (), AT_REST)
    for point in before:
        track, _ = advance(track, limit, *point)
    return RuleState(track, told=told)
