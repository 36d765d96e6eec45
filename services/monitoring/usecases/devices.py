"""Which session a monitor or a pump belongs to, now and before; a device has one open session.

A device that another open session has is moved, never refused: where it stands is a fact, and a refusal would leave its
readings with the wrong patient. Both timelines say so, and the chair that it left misses it: its silence is an alarm.
"""

from datetime import datetime

from services.monitoring.model import OPEN
from services.monitoring.store import ASSIGNMENTS, SESSIONS
from services.monitoring.usecases.entries import record
from shared.ids import new_id
from shared.persistence.mongo import Document, UnitOfWork

KINDS = ("monitor", "pump")


async def assign(unit: UnitOfWork, session: Document, given: Document) -> None:
    """`given` may name a device of each kind; one that is named is this session's from now on, the one before is free.

    None takes away what stands there: nobody waits for it any more.
    `session` is not saved here: what changes in it is the caller's to save.
    """
    now = unit.clock.clinical_now()
    for kind in KINDS if session["state"] in OPEN else ():
        if kind not in given:
            continue
        device = given[kind]
        if device is None:
            await _take_away(unit, session, kind, now)
            continue
        held = await unit.collection(ASSIGNMENTS).find({"device": device, "open": True})
        if any(row["session_id"] == session["_id"] for row in held):
            continue
        for row in held:
            await _leave(unit, session, row, now)
        await _vacate(unit, session, kind, now, comes=device)
        session[f"{kind}_since"] = now
        row = {"_id": new_id(), "schema_version": 1, "session_id": session["_id"], "device": device, "kind": kind}
        await unit.collection(ASSIGNMENTS).insert(row | {"since": now, "until": None, "open": True})
        await record(unit, session, "device_assigned", now, device=device, device_kind=kind)


async def _take_away(unit: UnitOfWork, session: Document, kind: str, now: datetime) -> None:
    for device in await _vacate(unit, session, kind, now):
        await record(unit, session, "device_taken_away", now, device=device, device_kind=kind)
    session[f"{kind}_since"] = None


async def _vacate(unit: UnitOfWork, session: Document, kind: str, now: datetime, comes: str | None = None) -> list[str]:
    """What stood there is free: nobody waits for it here, nor for one that had moved away, unless it `comes` there now."""
    here = {"session_id": session["_id"], "kind": kind}
    rows = await unit.collection(ASSIGNMENTS).find({**here, "device": {"$ne": comes}})
    for row in rows:
        session["devices"].pop(row["device"], None)
    await _release(unit, here, now)
    return [row["device"] for row in rows if row["open"]]


async def prepared(unit: UnitOfWork, session: Document, kind: str) -> str | None:
    """What was named for a session before it began; not what another one has by now, for who prepared it knew nothing of that."""
    device: str | None = session[kind]
    held = device is not None and await unit.collection(ASSIGNMENTS).find_one({"device": device, "open": True})
    return None if held else device


async def was_here(unit: UnitOfWork, session: Document, device: str, at: datetime) -> bool:
    """Whether the device was the session's at a time, or later, and is not any more."""
    if device in [session.get(kind) for kind in KINDS]:
        return False
    query = {"session_id": session["_id"], "device": device, "open": False, "until": {"$gte": at}}
    return await unit.collection(ASSIGNMENTS).count(query, limit=1) > 0


async def _leave(unit: UnitOfWork, to_session: Document, row: Document, now: datetime) -> None:
    await _release(unit, {"_id": row["_id"]}, now)
    before = await unit.collection(SESSIONS).get(row["session_id"])
    await unit.collection(SESSIONS).change({"_id": before["_id"]}, {"$set": {row["kind"]: None}})
    facts = {"device": row["device"], "device_kind": row["kind"]}
    await record(unit, before, "device_moved_away", now, to_session=to_session["_id"], **facts)
    await record(unit, to_session, "device_moved_here", now, from_session=before["_id"], **facts)


async def _release(unit: UnitOfWork, query: Document, at: datetime) -> None:
    change = {"$set": {"open": False, "until": at}}
    await unit.collection(ASSIGNMENTS).update_many({**query, "open": True}, change)


async def release_all(unit: UnitOfWork, session: Document, at: datetime) -> None:
    """The session ended: its devices are free, and what they send about the time before still finds it."""
    await _release(unit, {"session_id": session["_id"]}, at)
