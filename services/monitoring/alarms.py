"""The alarm engine: pure, deterministic, replayable. (state, reading or tick, limits) -> (state, transitions).

A breach that lasts its rule's delay raises one alarm per episode. Priority high latches: it stays until somebody
acknowledged it and the value is back within the limit less the hysteresis (pitfalls.md 2.4). An alarm that was
acknowledged and is still true is renewed after three minutes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from services.monitoring.limits import Limit

RENEW_AFTER = timedelta(seconds=180)
QUIET = timedelta(seconds=2)


@dataclass(frozen=True)
class RuleState:
    """One rule in one session; at rest nothing is kept.

    `value` is the newest reading of the sign, `normal_since` when it came back; `acknowledged_at` is forgotten when
    the alarm is renewed. `alarm_id` is fixed when the alarm is raised.
    """

    breach_since: datetime
    value: float
    at: datetime
    raised_at: datetime | None = None
    acknowledged_at: datetime | None = None
    normal_since: datetime | None = None
    alarm_id: str | None = None


States = Mapping[str, RuleState]


@dataclass(frozen=True)
class Transition:
    """What changed for one alarm. `breach_since` names the episode."""

    kind: Literal["raised", "renewed", "cleared"]
    limit: Limit
    state: RuleState
    at: datetime


def evaluate(
    states: States, sign: str, value: float, at: datetime, limits: Sequence[Limit], previous: float | None = None
) -> tuple[dict[str, RuleState], list[Transition]]:
    """Judge one reading against every limit of its sign; `previous` is the sign's reading before it, if it is recent."""
    after, transitions = dict(states), list[Transition]()
    for limit in limits:
        if limit.rule.sign == sign:
            state = _read(after.get(limit.name), limit, value, at)
            jumped = state is not None and _jumped(limit, value, previous)
            _settle(after, transitions, limit, state, at, at_once=jumped)
    return after, transitions


def tick(states: States, at: datetime, limits: Sequence[Limit]) -> tuple[dict[str, RuleState], list[Transition]]:
    """Time passed without a reading: a delay may have ended, an alarm may be due again.

    A sign that was read within two seconds is left to its next reading, which says more and is whose trace the page ends.
    """
    after, transitions = dict(states), list[Transition]()
    for limit in limits:
        state = after.get(limit.name)
        if state is not None and at - state.at >= QUIET:
            _settle(after, transitions, limit, state, max(at, state.at))
    return after, transitions


def acknowledge(states: States, limit: Limit, at: datetime) -> tuple[dict[str, RuleState], list[Transition]]:
    """A human accepted the alarm; a latched alarm whose sign is back to normal clears now."""
    after, transitions = dict(states), list[Transition]()
    state = after.get(limit.name)
    if state is not None and state.raised_at is not None:
        accepted = replace(state, acknowledged_at=state.acknowledged_at or at)
        _settle(after, transitions, limit, accepted, max(at, state.at))
    return after, transitions


def _read(state: RuleState | None, limit: Limit, value: float, at: datetime) -> RuleState | None:
    """The rule's state with the new value; None at rest."""
    if limit.breached(value):
        if state is None:
            return RuleState(at, value, at)
        return replace(state, value=value, at=at, normal_since=None)
    if state is None or state.raised_at is None:
        return None
    if not limit.back(value):
        return replace(state, value=value, at=at)
    return replace(state, value=value, at=at, normal_since=state.normal_since or at)


def _jumped(limit: Limit, value: float, previous: float | None) -> bool:
    jump = limit.rule.jump
    if jump is None or previous is None:
        return False
    return value - previous >= jump if limit.high else previous - value >= jump


def _settle(
    after: dict[str, RuleState],
    transitions: list[Transition],
    limit: Limit,
    state: RuleState | None,
    at: datetime,
    *,
    at_once: bool = False,
) -> None:
    """Keep the state, with whatever follows from it at this moment."""
    after.pop(limit.name, None)
    if state is None:
        return
    if _over(limit, state, at):
        if state.raised_at is not None:
            transitions.append(Transition("cleared", limit, state, at))
        return
    if state.raised_at is None and (at_once or at - state.breach_since >= timedelta(seconds=limit.rule.delay_s)):
        state = replace(state, raised_at=at)
        transitions.append(Transition("raised", limit, state, at))
    elif _due_again(limit, state, at):
        state = replace(state, acknowledged_at=None)
        transitions.append(Transition("renewed", limit, state, at))
    after[limit.name] = state


def _over(limit: Limit, state: RuleState, at: datetime) -> bool:
    if state.normal_since is None or at - state.normal_since < timedelta(seconds=limit.rule.normal_s):
        return False
    return limit.rule.priority != "high" or state.acknowledged_at is not None


def _due_again(limit: Limit, state: RuleState, at: datetime) -> bool:
    accepted = state.acknowledged_at
    return (
        state.raised_at is not None
        and accepted is not None
        and state.normal_since is None
        and limit.breached(state.value)
        and at - accepted >= RENEW_AFTER
    )
