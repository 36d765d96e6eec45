"""An open gate closes by itself (CFG, clinical.md 10: it expires after 15 minutes)."""

from datetime import datetime

from services.monitoring import model
from services.monitoring.store import SESSIONS
from services.monitoring.usecases.entries import record
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.timers import TimerContext, set_timer

GATE = "gate_expires"


async def watch(unit: UnitOfWork, session: Document, until: datetime) -> Document:
    """The session with the end of its open gate; where a dose was given already there is none to close."""
    if session["state"] != "gate_open":
        return session
    await set_timer(unit, GATE, f"gate:{session['_id']}", until, {"session_id": session["_id"]})
    return session | {"gate_open_until": until}


async def on_expired(context: TimerContext) -> None:
    """Nobody was dosed while it was open: the session is where its baseline had brought it."""
    unit, now = context.unit, context.unit.clock.clinical_now()
    session = await unit.collection(SESSIONS).find_one({"_id": context.payload["session_id"]})
    if session is None or session["state"] != "gate_open" or session["gate_open_until"] > now:
        return
    after = model.move(session, "expire_gate", now, gate_open_until=None)
    await unit.collection(SESSIONS).replace_versioned(after)
    await record(unit, after, "gate_expired", session["gate_open_until"])
