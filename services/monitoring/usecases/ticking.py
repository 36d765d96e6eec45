"""Time passing without a reading: delays that end, alarms that are due again, devices that fell silent."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.monitoring.alarms import RuleState, evaluate, tick
from services.monitoring.engines import engine_of, orphans, states_of
from services.monitoring.limits import Limits, broken
from services.monitoring.model import OPEN, PHASE
from services.monitoring.signals import Silence, silent_devices, wrong_clocks
from services.monitoring.store import ENGINES, SESSIONS, last_heard
from services.monitoring.usecases import due as schedules
from services.monitoring.usecases import raising
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.placing import TRANSPORT_SECONDS
from shared.clock import Clock
from shared.persistence.mongo import Document, UnitOfWork


def due(deps: Deps, clock: Clock, session: Document, engine: Document | None, heard: dict[str, datetime]) -> bool:
    """Whether a tick would change anything; judged outside a transaction, for most ticks change nothing."""
    now, known = clock.clinical_now(), engine["signals"] if engine else {}
    if any(item.graver_than(known.get(item.device)) for item in _silent(deps, clock, session, heard, now)):
        return True
    if _replaced(session, known) or _replaced(session, wrong_clocks(session.get("technical"))):
        return True
    if schedules.unarmed(deps, session):
        return True
    if engine is None and not session.get("scores"):
        return False
    states, limits = states_of(engine), deps.limits(session)
    if _unjudged(session, limits, states):
        return True
    return bool(tick(states, now, limits)[1] or orphans(states, (limit.name for limit in limits)))


def _silent(deps: Deps, clock: Clock, session: Document, heard: dict[str, datetime], now: datetime) -> list[Silence]:
    declared = {device: seconds for device, seconds in session["devices"].items() if seconds is not None}
    phase = PHASE.get(session["state"], "recovery")
    tolerance = clock.clinical_span(TRANSPORT_SECONDS)
    expected = _expected(session, heard)
    return silent_devices(deps.protocol(session).signals, declared, expected, now, phase, tolerance)


def _expected(session: Document, heard: dict[str, datetime]) -> dict[str, datetime]:
    """With the assigned monitor from the first dose on: one that was never heard is silent too."""
    monitor, since = session.get("monitor"), session["started_at"]
    if monitor is None or since is None or monitor in heard:
        return heard
    return {**heard, monitor: max(since, session.get("monitor_since") or since)}


def _replaced(session: Document, devices: Iterable[str]) -> list[str]:
    """Those that nobody waits for any more: another has their place."""
    return [device for device in devices if device not in (*session["devices"], session.get("monitor"))]


def _unjudged(session: Document, limits: Limits, states: Mapping[str, RuleState]) -> dict[str, float]:
    """Scores that break a limit which did not hold when they were noted: the phase is another, or the limits are."""
    noted = {code: score["value"] for code, score in (session.get("scores") or {}).items()}
    standing = {name for name, state in states.items() if state.track.head.since is not None}
    return {
        code: value
        for code, value in noted.items()
        if any(limit.name not in standing for limit in broken(limits, code, value))
    }


async def _tell(unit: UnitOfWork, session: Document, silence: Silence, told: Document | None) -> Document:
    if told is None:
        return await raising.lose_signal(unit, session, silence)
    return await raising.worsen_signal(unit, session, told, silence.priority)


async def _clock_over(unit: UnitOfWork, session: Document, rule: str) -> None:
    """What is no more at the chair tells no wrong time there."""
    if await raising.end_technical(unit, session, session["technical"][rule], 0.0):
        await unit.collection(SESSIONS).change({"_id": session["_id"]}, {"$unset": {f"technical.{rule}": ""}})


async def tick_session(unit: UnitOfWork, deps: Deps, session_id: str) -> None:
    """One session at this moment, on what is stored: it reads the newest readings before it raises silence."""
    session = await unit.collection(SESSIONS).find_one({"_id": session_id})
    if session is None or session["state"] not in OPEN:
        return
    engine = await unit.collection(ENGINES).find_one({"_id": session_id})
    now = unit.clock.clinical_now()
    before, signals = states_of(engine), dict(engine["signals"]) if engine else {}
    limits = deps.limits(session)
    states, transitions = tick(before, now, limits)
    states = await raising.apply(unit, session, states, transitions)
    for name in orphans(states, (limit.name for limit in limits)):
        gone = states.pop(name)
        if gone.alarm_id is not None:
            await raising.clear(unit, session, gone.alarm_id, now, gone.value)
    for code, value in _unjudged(session, limits, states).items():
        states, transitions = evaluate(states, code, value, now, limits)
        states = await raising.apply(unit, session, states, transitions)
    await schedules.arm(unit, deps, session)
    heard = (await last_heard(unit, [session_id])).get(session_id, {})
    silent = _silent(deps, unit.clock, session, heard, now)
    lost = [item for item in silent if item.graver_than(signals.get(item.device))]
    for silence in lost:
        signals[silence.device] = await _tell(unit, session, silence, signals.get(silence.device))
    replaced = _replaced(session, signals)
    for device in replaced:
        if await raising.restore_signal(unit, session, signals[device], now):
            del signals[device]
    for device in _replaced(session, wrong_clocks(session.get("technical"))):
        await _clock_over(unit, session, f"clock:{device}")
    if states != before or lost or replaced:
        await unit.collection(ENGINES).put(engine_of(session_id, states, signals))
