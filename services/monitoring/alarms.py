"""The alarm engine: pure, deterministic, replayable. (state, reading, rules) -> (state, transitions).

A breach that lasts its rule's delay raises one alarm per episode. Priority high latches: it stays until somebody
acknowledged it and the value is back within the limit less the hysteresis (pitfalls.md 2.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from shared.events.monitoring import Priority
from shared.protocols import Protocol


class Rule(Protocol):
    """One limit of one sign; `above` and `below` are inclusive, in the sign's unit; `delay_s` is clinical time."""

    name: str
    sign: str
    above: float | None = None
    below: float | None = None
    priority: Priority
    delay_s: float
    hysteresis: float

    @property
    def limit(self) -> float:
        return self.above if self.above is not None else self.below or 0.0

    def breached(self, value: float) -> bool:
        return (self.above is not None and value >= self.above) or (self.below is not None and value <= self.below)

    def back(self, value: float) -> bool:
        """Within the limit by more than the hysteresis."""
        high = self.above is None or value < self.above - self.hysteresis
        return high and (self.below is None or value > self.below + self.hysteresis)


@dataclass(frozen=True)
class RuleState:
    """One rule in one session: since when the breach lasts, whether it alarms, whether it was acknowledged."""

    breach_since: datetime | None = None
    raised_at: datetime | None = None
    acknowledged: bool = False
    normal: bool = True


AT_REST = RuleState()
States = Mapping[str, RuleState]


@dataclass(frozen=True)
class Transition:
    """What changed: an alarm was raised or has cleared. `breach_since` names the episode."""

    kind: Literal["raised", "cleared"]
    rule: Rule
    breach_since: datetime
    at: datetime
    value: float


def evaluate(
    states: States, sign: str, value: float, at: datetime, rules: Sequence[Rule]
) -> tuple[dict[str, RuleState], list[Transition]]:
    """Judge one reading against every rule of its sign."""
    after, transitions = dict(states), []
    for rule in rules:
        if rule.sign == sign:
            state, transition = _step(after.get(rule.name, AT_REST), rule, value, at)
            after[rule.name] = state
            if transition:
                transitions.append(transition)
    return {name: state for name, state in after.items() if state != AT_REST}, transitions


def _step(state: RuleState, rule: Rule, value: float, at: datetime) -> tuple[RuleState, Transition | None]:
    if rule.breached(value):
        since = state.breach_since or at
        state = replace(state, breach_since=since, normal=False)
        if state.raised_at is None and at - since >= timedelta(seconds=rule.delay_s):
            return replace(state, raised_at=at), Transition("raised", rule, since, at, value)
        return state, None
    if state.raised_at is None:
        return AT_REST, None
    if not rule.back(value):
        return state, None
    return _clear(replace(state, normal=True), rule, value, at)


def acknowledge(state: RuleState, rule: Rule, value: float, at: datetime) -> tuple[RuleState, Transition | None]:
    """A human accepted the alarm; a latched alarm whose sign is back to normal clears now."""
    if state.raised_at is None:
        return state, None
    accepted = replace(state, acknowledged=True)
    return _clear(accepted, rule, value, at) if accepted.normal else (accepted, None)


def _clear(state: RuleState, rule: Rule, value: float, at: datetime) -> tuple[RuleState, Transition | None]:
    if rule.priority == "high" and not state.acknowledged:
        return state, None
    return AT_REST, Transition("cleared", rule, state.breach_since or at, at, value)
