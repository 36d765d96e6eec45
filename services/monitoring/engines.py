"""The engine's states as a document and back. Pure.

`rules` is what code before there were tracks reads and writes, so both may work side by side; what such code wrote has no
track, and its rule goes on from the newest reading that it names. `devices` stands beside `tracks` for the same reason: a
track that came without it was measured by nobody knows whom, and any value ends it. So does `help_asked`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from services.monitoring.alarms import RuleState
from services.monitoring.episodes import Course, Point, Track
from services.monitoring.vitals import MANUAL

Document = dict[str, Any]


def states_of(engine: Mapping[str, Any] | None) -> dict[str, RuleState]:
    if engine is None:
        return {}
    found = restored(engine.get("tracks") or {}, engine.get("devices") or {})
    found |= {name: replace(found[name], help_asked=True) for name in engine.get("help_asked") or () if name in found}
    return found | {name: _untracked(rule) for name, rule in engine["rules"].items() if name not in found}


def engine_of(key: str, states: Mapping[str, RuleState], signals: Mapping[str, Document]) -> Document:
    """The engine's document; `signals` are the silent devices with their alarms."""
    stirred = {name: state for name, state in states.items() if state.raised_at or state.track.head.since}
    rules = {name: _rule(state) for name, state in stirred.items()}
    tracks, devices = kept(states)
    about = {"_id": key, "schema_version": 1, "signals": dict(signals)}
    helped = sorted(name for name, state in states.items() if state.help_asked)
    return about | {"rules": rules, "tracks": tracks, "devices": devices, "help_asked": helped}


def kept(states: Mapping[str, RuleState]) -> tuple[Document, Document]:
    """By rule its state, and apart from it which devices measured."""
    tracks = {name: _tracked(state) for name, state in states.items()}
    return tracks, {name: _devices(state.track) for name, state in states.items()}


def restored(tracks: Mapping[str, Document], devices: Mapping[str, Document]) -> dict[str, RuleState]:
    return {name: _restored(track, devices.get(name)) for name, track in tracks.items()}


def _tracked(state: RuleState) -> Document:
    base, points, head = state.track
    track = (base[:-1], [point[:2] for point in points], head[:-1])
    return {name: getattr(state, name) for name in RuleState.__slots__ if name != "help_asked"} | {"track": track}


def _devices(track: Track) -> Document:
    base, points, head = track
    return {"base": base.seen, "points": [device for _, _, device in points], "head": head.seen}


def _restored(document: Document, devices: Document | None) -> RuleState:
    base, points, head = document["track"]
    by = devices or {"base": (), "points": [MANUAL] * len(points), "head": ()}
    measured = tuple[Point, ...]((at, value, device) for (at, value), device in zip(points, by["points"], strict=True))
    track = Track(_course(base, by["base"]), measured, _course(head, by["head"]))
    told = tuple((since, until) for since, until in document["told"])
    return RuleState(**{**document, "track": track, "told": told})


def _course(fields: Iterable[Any], seen: Iterable[Point]) -> Course:
    return Course(*fields)._replace(seen=tuple((at, value, device) for at, value, device in seen))


def orphans(states: Mapping[str, RuleState], names: Iterable[str]) -> list[str]:
    """Rules that do not hold any more: the phase is another, or the limits are."""
    return sorted(set(states) - set(names))


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
