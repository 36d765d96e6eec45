"""The alarm engine: pure, deterministic, replayable. (state, reading or tick, limits) -> (state, transitions).

A breach that lasts its rule's delay raises one alarm per episode. Priority high latches: it stays until somebody
acknowledged it and the value is back within the limit less the hysteresis (pitfalls.md 2.4). An alarm that was
acknowledged and is still true is renewed after three minutes. A reading that came late may show that there was an
episode; never does it take an alarm back. While the alarm of a graver limit of the same sign and side stands that was
broken no later, the milder one says nothing; a breach that outlasts it is told then (ADR 19).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from services.monitoring.episodes import SPAN, Episode, Point, Track, advance, begin
from services.monitoring.limits import Limit, of_sign, resolved
from services.monitoring.vitals import MANUAL

RENEW_AFTER = timedelta(seconds=180)  # CFG: accepted and still true it is told again (pitfalls.md 2.4)
QUIET = timedelta(seconds=2)
Told = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class RuleState:
    """One rule in one session; at rest nothing is kept.

    `alarm_since` and `alarm_id` are fixed when the alarm is raised. `acknowledged_at` is forgotten when the alarm is
    renewed. `told`: from when to when earlier alarms of this rule stood, as far back as a late reading may reach.
    `help_asked`: somebody called for help, so the alarm latches whatever its rule's priority.
    """

    track: Track
    raised_at: datetime | None = None
    alarm_since: datetime | None = None
    acknowledged_at: datetime | None = None
    alarm_id: str | None = None
    told: tuple[Told, ...] = ()
    help_asked: bool = False

    @property
    def at(self) -> datetime:
        """When the newest reading was taken."""
        at = self.track.head.at
        assert at is not None  # noqa: S101 - a state begins with a reading
        return at

    @property
    def value(self) -> float:
        """The newest reading."""
        value = self.track.head.value
        assert value is not None  # noqa: S101
        return value

    @property
    def breach_since(self) -> datetime:
        """Of the alarm where there is one, else of the breach, else the newest reading."""
        return self.alarm_since or self.track.head.since or self.at


States = Mapping[str, RuleState]


@dataclass(frozen=True)
class Transition:
    """What changed for one alarm. `value` was taken at `taken_at`; `over`: raised for an episode that has ended before
    the one of the alarm that stands, so it is told and over at the same time.
    """

    kind: Literal["raised", "renewed", "cleared"]
    limit: Limit
    state: RuleState
    at: datetime
    value: float
    taken_at: datetime
    over: bool = False


Found = list[Transition]


def evaluate(
    states: dict[str, RuleState],
    sign: str,
    value: float,
    at: datetime,
    limits: Sequence[Limit],
    earlier: Sequence[Point] = (),
    device: str = MANUAL,
) -> tuple[dict[str, RuleState], Found]:
    """Judge one reading against every limit of its sign; where nothing is stirred, `states` itself is given back.

    `earlier`: the sign's readings of the minute before and of the seconds after it, wanted where a rule is at rest and
    broken, for nothing was kept of them.
    """
    watched = resolved(limits)
    mine, low, high = of_sign(watched, sign)
    if low < value < high and not (states and any(limit.rule.name in states for limit in mine)):
        return states, []
    after, transitions = dict(states), Found()
    for limit in mine:
        name = limit.rule.name
        state = after.get(name)
        if state is not None:
            track, episodes = advance(state.track, limit, at, value, device)
        elif limit.breached(value):
            track, episodes = begin(limit, at, value, earlier, device)
        else:
            continue
        state = RuleState(track) if state is None else _tracked(state, track)
        if state.raised_at is None and not episodes and track.head.since is not None:
            after[name] = state  # most of what is stirred only waits
            continue
        episodes = _uncovered(after, watched.covering[name], episodes, max(at, state.at))
        _settle(after, transitions, limit, state, at=max(at, state.at), episodes=episodes)
    return after, transitions


def _tracked(state: RuleState, track: Track) -> RuleState:
    known = state.raised_at, state.alarm_since, state.acknowledged_at, state.alarm_id, state.told, state.help_asked
    return RuleState(track, *known)


def tick(states: States, at: datetime, limits: Sequence[Limit]) -> tuple[dict[str, RuleState], Found]:
    """Time passed without a reading: a delay may have ended, an alarm may be due again.

    A sign that was read within two seconds is left to its next reading, which says more and is whose trace the page ends.
    """
    watched = resolved(limits)
    after, transitions = dict(states), Found()
    for limit in (limit for mine, _, _ in watched.by_sign.values() for limit in mine):
        state = after.get(limit.name)
        if state is not None and at - state.at >= QUIET:
            head, episodes = state.track.head, list[Episode]()
            if head.since is not None and (head.reached or at - head.since >= timedelta(seconds=limit.rule.delay_s)):
                episodes = [Episode(head.since, None, head.breached_at or head.since, head.worst or 0.0)]
            episodes = _uncovered(after, watched.covering[limit.name], episodes, max(at, state.at))
            _settle(after, transitions, limit, state, at=max(at, state.at), episodes=episodes)
    return after, transitions


def _uncovered(states: States, graver: Sequence[Limit], episodes: list[Episode], at: datetime) -> list[Episode]:
    """Those of which no alarm of a graver limit tells, begun no later."""
    begun = told_since(states, graver, at)
    return episodes if begun is None else [episode for episode in episodes if episode.since < begun]


def told_since(states: States, graver: Sequence[Limit], at: datetime) -> datetime | None:
    """Since when an alarm of one of these limits tells people, until it is over; None where none does."""
    known = [(limit, states[limit.name]) for limit in graver if limit.name in states]
    standing = [state.alarm_since for limit, state in known if _speaks(limit, state, at)]
    return min((since for since in standing if since is not None), default=None)


def _speaks(limit: Limit, state: RuleState, at: datetime) -> bool:
    """Whether people hear of this alarm until it is over: it waits for an answer, or is still true and so told again."""
    return not limit.quiet(at) and (state.acknowledged_at is None or limit.breached(state.value))


def acknowledge(states: States, limit: Limit, at: datetime) -> tuple[dict[str, RuleState], Found]:
    """A human accepted the alarm; a latched alarm whose sign is back to normal clears now."""
    after, transitions = dict(states), Found()
    state = after.get(limit.name)
    if state is not None and state.raised_at is not None:
        accepted = replace(state, acknowledged_at=state.acknowledged_at or at)
        _settle(after, transitions, limit, accepted, at=max(at, state.at), episodes=[])
    return after, transitions


def _settle(
    after: dict[str, RuleState],
    transitions: Found,
    limit: Limit,
    state: RuleState,
    *,
    at: datetime,
    episodes: Sequence[Episode],
) -> None:
    """Keep the state, with whatever follows from it at this moment."""
    for episode in episodes:
        untold = _untold(state, limit, episode, at)
        if untold is not None and not limit.quiet(at):
            state = _raised(transitions, limit, state, untold, at)
    if state.raised_at is not None:
        if _over(limit, state, at):
            state = _cleared(transitions, limit, state, at)
        elif _due_again(limit, state, at):
            state = replace(state, acknowledged_at=None)
            transitions.append(Transition("renewed", limit, state, at, state.value, state.at))
    elif state.track.head.since is None and at - _last_stirred(state, at) > SPAN:
        after.pop(limit.name, None)
        return
    after[limit.name] = state


def _last_stirred(state: RuleState, at: datetime) -> datetime:
    """When it was broken last, or its end was seen, or an alarm of it ended."""
    head = state.track.head
    known = [head.breached_at, head.normal_since, *(until for _, until in state.told)]
    return max((moment for moment in known if moment is not None), default=at)


def _untold(state: RuleState, limit: Limit, episode: Episode, at: datetime) -> Episode | None:
    """None when an alarm stands or stood in it: then it is the same episode, however it looks now.

    What goes on for longer than the delay after its alarm was cleared is told again, from then on: no breach is silent.
    """
    alarms = state.told if state.alarm_since is None else (*state.told, (state.alarm_since, None))
    for since, until in alarms:
        if until is not None and episode.since > until:
            continue
        latched = _latches(limit, state) if until is None else limit.rule.priority == "high"
        if (episode.end is not None and episode.end <= since) or _is_another(episode, since, latched=latched):
            continue
        newest = at if episode.end is None else episode.at
        if until is None or newest <= until or (newest - until).total_seconds() < limit.rule.delay_s:
            return None
        episode = episode._replace(since=until)
    return episode


def _latches(limit: Limit, state: RuleState) -> bool:
    """Whether the alarm stands until somebody accepts it, however well the sign is."""
    return limit.rule.priority == "high" or state.help_asked


def _is_another(episode: Episode, since: datetime | None, *, latched: bool) -> bool:
    """A late reading showed that the sign had been well between the begin of an alarm, which does not latch, and this."""
    over_at = episode.over_at
    return over_at is not None and since is not None and over_at > since and not latched


def _raised(transitions: Found, limit: Limit, state: RuleState, episode: Episode, at: datetime) -> RuleState:
    if state.raised_at is not None and _is_another(episode, state.alarm_since, latched=_latches(limit, state)):
        state = _cleared(transitions, limit, state, at, episode.over_at)
    if state.raised_at is None:
        alarm = replace(state, raised_at=at, alarm_since=episode.since)
        transitions.append(Transition("raised", limit, alarm, at, episode.value, episode.at))
        return alarm
    if limit.rule.priority != "high":
        alarm = replace(state, alarm_since=episode.since, alarm_id=None)
        transitions.append(Transition("raised", limit, alarm, at, episode.value, episode.at, over=True))
    return replace(state, told=(*state.told, (episode.since, episode.end or at)))


def _cleared(
    transitions: Found, limit: Limit, state: RuleState, at: datetime, until: datetime | None = None
) -> RuleState:
    transitions.append(Transition("cleared", limit, state, at, state.value, state.at))
    recent = tuple(item for item in state.told if at - item[1] <= SPAN)
    if not _latches(limit, state):
        until = until or state.track.head.normal_since
    return RuleState(state.track, told=(*recent, (state.breach_since, until or at)))


def _over(limit: Limit, state: RuleState, at: datetime) -> bool:
    normal_since = state.track.head.normal_since
    if normal_since is None or at - normal_since < timedelta(seconds=limit.rule.normal_s):
        return False
    return not _latches(limit, state) or state.acknowledged_at is not None


def _due_again(limit: Limit, state: RuleState, at: datetime) -> bool:
    accepted = state.acknowledged_at
    if accepted is None or at - accepted < RENEW_AFTER or limit.quiet(at):
        return False
    return state.track.head.normal_since is None and limit.breached(state.value)
