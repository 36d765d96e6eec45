"""The engine's states as a document and back. Pure.

`rules` is what code before there were tracks reads and writes, so both may work side by side; what such code wrote has no
track, and its rule goes on from the newest reading that it names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from services.monitoring.alarms import RuleState
from services.monitoring.episodes import Course, Track

Document = dict[str, Any]


def states_of(engine: Mapping[str, Any] | None) -> dict[str, RuleState]:
    if engine is None:
        return {}
    tracks, rules = engine.get("tracks") or {}, engine["rules"]
    found = {name: RuleState.of(kept) for name, kept in tracks.items()}
    return found | {name: _untracked(rule) for name, rule in rules.items() if name not in tracks}


def engine_of(key: str, states: Mapping[str, RuleState], signals: Mapping[str, Document]) -> Document:
    """The engine's document; `signals` are the silent devices with their alarms."""
    stirred = {name: state for name, state in states.items() if state.raised_at or state.track.head.since}
    rules = {name: _rule(state) for name, state in stirred.items()}
    tracks = {name: state.document() for name, state in states.items()}
    return {"_id": key, "schema_version": 1, "rules": rules, "tracks": tracks, "signals": dict(signals)}


def orphans(states: Mapping[str, RuleState], names: Iterable[str]) -> list[str]:
    """Rules with an alarm that do not hold any more: the phase is another, or the limits are."""
    return sorted({name for name, state in states.items() if state.raised_at is not None} - set(names))


def _rule(state: RuleState) -> Document:
    same = {name: getattr(state, name) for name in ("value", "at", "breach_since", "raised_at", "acknowledged_at")}
    return same | {"normal_since": state.track.head.normal_since, "alarm_id": state.alarm_id}


def _untracked(rule: Mapping[str, Any]) -> RuleState:
    back = rule["normal_since"]
    since = None if back else rule["breach_since"]
    raised_at, at, value = rule["raised_at"], rule["at"], rule["value"]
    head = Course(since, raised_at is not None and since is not None, back, at, value, at, value)
    alarm_since = rule["breach_since"] if raised_at else None
    return RuleState(Track(head, (), head), raised_at, alarm_since, rule["acknowledged_at"], rule["alarm_id"])
