"""The protocol's schedule as timers: what is due is noted with the session, what is missed is a technical alarm.

The evaluator's tick arms a phase once it sees it, so no way into a phase can forget to; each timer sets the next. A dose
that was corrected or moved is armed for anew (`arm_again`), as far as something counts from it.
"""

from datetime import datetime, timedelta
from typing import Any

from services.monitoring import schedule
from services.monitoring.model import OPEN, PHASE
from services.monitoring.protocol import Measurement
from services.monitoring.schedule import Due
from services.monitoring.store import ALARMS, SESSIONS, newest_of
from services.monitoring.timeline import present
from services.monitoring.usecases import raising, recovering
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import of_session
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.timers import TimerContext, TimerHandler, set_timer

MEASUREMENT = "measurement_due"
LOOK_AGAIN = timedelta(seconds=15)


def _phase(session: Document) -> str:
    """What the minutes count from changes with each dose too."""
    return f"{PHASE.get(session['state'], 'recovery')}:{len(session['doses'])}"


def _own_phase(session: Document, item: Measurement) -> str:
    return f"{item.phase}:{len(session['doses'])}"


def _asked(session: Document, item: Measurement) -> bool:
    """In its phase; what counts from a dose is asked for in recovery too, which may have begun before it is due."""
    phase = PHASE.get(session["state"], "recovery")
    goes_on = item.since != "phase" and (item.phase, phase) == ("dosing", "recovery")
    return item.phase == phase or goes_on


def unarmed(deps: Deps, session: Document) -> bool:
    """Whether the timers of the present phase are not set yet."""
    waits = session["state"] == "dosing" or bool(deps.protocol(session).schedule)
    return (session.get("armed") != _phase(session) or _again(session)) and waits


def _again(session: Document) -> bool:
    again: bool = session.get("arm_again", False)
    return again


async def arm(unit: UnitOfWork, deps: Deps, session: Document) -> None:
    if not unarmed(deps, session):
        return
    now, due = unit.clock.clinical_now(), _going_on(deps, session)
    for item in deps.protocol(session).schedule:
        own = _own_phase(session, item)
        if not _asked(session, item) or _is_set(session, item):
            continue
        found = schedule.next_due(item, schedule.began(session, item, now), now)
        if found is not None:
            await _set(unit, session, own, found)
            due[item.name] = found.at
    since = session["phase_since"] if session.get("armed") == _phase(session) else now
    change: Document = {"armed": _phase(session), "arm_again": False, "phase_since": since, "due": due}
    await unit.collection(SESSIONS).change({"_id": session["_id"]}, {"$set": change})
    await recovering.watch(unit, deps, session)


def _is_set(session: Document, item: Measurement) -> bool:
    """Its timer stands as it has to, whatever was corrected since."""
    corrected = _again(session) and item.since != "phase"
    return _own_phase(session, item) == session.get("armed") and not corrected


def _going_on(deps: Deps, session: Document) -> Document:
    """What the phase before waits for and this one too: its timers are set, and what was missed of it stays missed."""
    before, waited = session.get("armed"), session.get("due") or {}
    items = [item for item in deps.protocol(session).schedule if _asked(session, item)]
    names = {item.name for item in items if _own_phase(session, item) == before}
    return {name: at for name, at in waited.items() if name in names}


async def _set(unit: UnitOfWork, session: Document, phase: str, found: Due, at: datetime | None = None) -> None:
    """Fires when the measurement is late; a timer that is late itself still looks."""
    payload = {"session_id": session["_id"], "phase": phase, "name": found.name, "number": found.number}
    await set_timer(unit, MEASUREMENT, _key(payload), at or found.late_at, payload)


def _key(payload: Document) -> str:
    return f"due:{payload['session_id']}:{payload['name']}"


async def on_late(context: TimerContext) -> None:
    """The time for a measurement has passed: raise what was missed, end what has been made up for, and go on."""
    unit, deps, payload = context.unit, context.deps, context.payload
    session = await unit.collection(SESSIONS).find_one({"_id": payload["session_id"]})
    item = _item(deps, session, payload) if session else None
    if session is None or item is None:
        if not await _end_missed(unit, session, payload["name"]):
            await _look_again(context)
        return
    found = schedule.due(item, _began(session, item), payload["number"])
    if found is None:
        return
    if found.late_at > unit.clock.clinical_now():  # the dose was corrected, and nobody has looked since
        await _set(unit, session, payload["phase"], found)
        return
    if not await _measured(unit, session, item, found):
        await _raise_missed(unit, session, item, found)
        await _set(unit, session, payload["phase"], found, unit.clock.clinical_now() + LOOK_AGAIN)
        return
    if not await _end_missed(unit, session, item.name):
        await _look_again(context)
        return
    following = schedule.next_due(item, _began(session, item), unit.clock.clinical_now())
    change: Document = {"$unset": {f"due.{item.name}": ""}}
    if following is not None:
        await _set(unit, session, payload["phase"], following)
        change = {"$set": {f"due.{item.name}": following.at}}
    await unit.collection(SESSIONS).change({"_id": session["_id"]}, change)


async def _look_again(context: TimerContext) -> None:
    """Somebody may have accepted by then: only that ends an alarm for which help was called."""
    at = context.unit.clock.clinical_now() + LOOK_AGAIN
    await set_timer(context.unit, MEASUREMENT, _key(context.payload), at, context.payload)


def _item(deps: Deps, session: Document, payload: Document) -> Measurement | None:
    """What the timer stands for, while it is asked for."""
    if session["state"] not in OPEN:
        return None
    named = (item for item in deps.protocol(session).schedule if item.name == payload["name"])
    return next((i for i in named if _asked(session, i) and _own_phase(session, i) == payload["phase"]), None)


def _began(session: Document, item: Measurement) -> datetime:
    return schedule.began(session, item, session["phase_since"])


async def _measured(unit: UnitOfWork, session: Document, item: Measurement, found: Due) -> bool:
    """Every sign and scale of it, not long before it was due."""
    now = unit.clock.clinical_now()
    for sign in item.signs:
        row = await newest_of(unit, session["_id"], sign, now)
        if row is None or row["taken_at"] < found.opens_at:
            return False
    if not item.scales:
        return True
    written = present(await of_session(unit, session["_id"]))
    observed = [entry for entry in written if entry["kind"] == "observation" and entry["occurred_at"] >= found.opens_at]
    return set(item.scales) <= {entry["facts"]["observation_code"] for entry in observed}


async def _raise_missed(unit: UnitOfWork, session: Document, item: Measurement, found: Due) -> None:
    rule = f"missed:{item.name}"
    if await _missed(unit, session, rule) is None:
        minutes = (unit.clock.clinical_now() - found.at).total_seconds() / 60
        await raising.technical(unit, session, rule, value=round(minutes, 1), due_at=found.at)


async def _end_missed(unit: UnitOfWork, session: Document | None, name: str) -> bool:
    """False where the alarm waits for an answer."""
    alarm = await _missed(unit, session, f"missed:{name}") if session else None
    if session is None or alarm is None:
        return True
    return await raising.end_technical(unit, session, alarm["_id"], 0.0)


async def _missed(unit: UnitOfWork, session: Document, rule: str) -> Any:
    return await unit.collection(ALARMS).find_one({"session_id": session["_id"], "rule": rule, "open": True})


SCHEDULE_TIMERS: dict[str, TimerHandler] = {MEASUREMENT: on_late, recovering.RECOVERY: recovering.on_over}
