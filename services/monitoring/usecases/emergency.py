"""The emergency: everybody is paged at once, the code clock runs, its log is part of the timeline.

A whole group may have one, for whoever calls need not know who is who: its place is theirs and it is nobody's record.
"""

from datetime import datetime

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.model import ENDED, OPEN
from services.monitoring.store import ENTRIES
from services.monitoring.timeline import ambulance_called, code_seconds, emergency_since
from services.monitoring.usecases import participants
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import happened_at, record, write_down
from services.monitoring.usecases.sessions import load
from shared.events.monitoring import EmergencyCalled, EmergencyEnded
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork

_KINDS = ("emergency_called", "emergency_log", "emergency_ended")


async def of_any(unit: UnitOfWork, session_id: str, action: str) -> Document:
    """The session, or a group as one: without a state, at the places of those who are there, under its own id.

    Raises NotFound.
    """
    group = await participants.group(unit, session_id)
    if group is None:
        return await load(unit, session_id, action)
    audit(unit, f"session.{action}", f"group/{session_id}")
    present = [row for row in await participants.members(unit, session_id) if row["state"] in OPEN]
    places = {name: ", ".join(sorted({row[name] for row in present if row[name]})) for name in ("room", "chair")}
    return {**group, **places, "patient_id": session_id, "state": None}


async def call(unit: UnitOfWork, session_id: str, body: bodies.Emergency) -> tuple[Document, datetime, bool]:
    """All staff at once, from any state. The entry, since when the code clock runs, whether the ambulance was called.

    Called again it is one more entry and one more call; the clock goes on. Raises NotFound.
    """
    session = await of_any(unit, session_id, "emergency")
    rows = await _of(unit, session_id)
    since = emergency_since(rows)
    entry = await record(unit, session, "emergency_called", body.occurred_at, code=body.code, again=bool(since) or None)
    event = EmergencyCalled(
        patient_id=session["patient_id"],
        session_id=session_id,
        room=session["room"] or "-",
        chair=session["chair"] or "-",
        code=body.code,
        by_role=unit.scope.actor.role,
        at=entry["occurred_at"],
    )
    emit(unit, event, aggregate=f"entry/{entry['_id']}", version=1)
    since = since or entry["occurred_at"]
    return entry, since, ambulance_called(rows, since)


async def log(unit: UnitOfWork, deps: Deps, session_id: str, body: bodies.EmergencyLine) -> tuple[Document, bool]:
    """One line with its second on the code clock, and whether the ambulance was called by then.

    Without an emergency it is kept as out of order. Raises NotFound.
    """
    session, rows = await of_any(unit, session_id, "emergency_log"), await _of(unit, session_id)
    since, at = emergency_since(rows), happened_at(unit, body.occurred_at)
    seconds = {"code_seconds": code_seconds(since, at)} if since else {"no_emergency": True}
    entry = await write_down(unit, deps, session, "emergency_log", body, {**body.facts(), **seconds})
    return entry, ambulance_called([*rows, entry], since or at)


async def end(unit: UnitOfWork, session_id: str, body: schemas.Moment) -> Document:
    """The code clock stops. Raises NotFound."""
    session, rows = await of_any(unit, session_id, "emergency_end"), await _of(unit, session_id)
    since, at = emergency_since(rows), happened_at(unit, body.occurred_at)
    lasted = code_seconds(since, at) if since else None
    facts = {"code_seconds": lasted, "ended_session": session["state"] in ENDED, "no_emergency": since is None or None}
    entry = await record(unit, session, "emergency_ended", at, **facts)
    event = EmergencyEnded(
        patient_id=session["patient_id"], session_id=session_id, by_role=unit.scope.actor.role, at=entry["occurred_at"]
    )
    emit(unit, event, aggregate=f"entry/{entry['_id']}", version=1)
    return entry


async def goes_on(unit: UnitOfWork, session: Document) -> bool:
    """Whether one was called, of the session or of its whole group, and nobody has said that it ended."""
    whose = [session["_id"], session.get("group_id")]
    return any([emergency_since(await _of(unit, one)) is not None for one in whose if one])


async def _of(unit: UnitOfWork, session_id: str) -> list[Document]:
    return await unit.collection(ENTRIES).find({"session_id": session_id, "kind": {"$in": list(_KINDS)}})
