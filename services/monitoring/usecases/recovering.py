"""Recovery begins by itself: nobody stops a lozenge, an injection or a spray.

The timer is set when the evaluator's tick sees the dose, so no way into dosing can forget to.
"""

from datetime import datetime, timedelta

from services.monitoring import model
from services.monitoring.protocol import DOSING_MINUTES
from services.monitoring.store import SESSIONS
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import record
from services.monitoring.usecases.telling import tell_recovery
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.timers import TimerContext, set_timer

RECOVERY = "recovery_begins"


def begins_at(deps: Deps, session: Document) -> datetime | None:
    """So long after the last dose; None while there is an infusion, for its end begins the recovery."""
    infusion = session.get("infusion") or {}
    if session["state"] != "dosing" or not session["doses"] or infusion.get("state", "stopped") != "stopped":
        return None
    minutes = getattr(deps.protocol(session), "dosing_minutes", DOSING_MINUTES)
    last: datetime = max(dose["at"] for dose in session["doses"])
    return last + timedelta(minutes=minutes)


async def watch(unit: UnitOfWork, deps: Deps, session: Document) -> None:
    """Set the timer, or set it anew, for the doses that there are now."""
    at = begins_at(deps, session)
    if at is not None:
        await set_timer(unit, RECOVERY, f"recovery:{session['_id']}", at, {"session_id": session["_id"]})


async def on_over(context: TimerContext) -> None:
    """The time of dosing has passed, or a later dose has been given since."""
    unit, deps = context.unit, context.deps
    session = await unit.collection(SESSIONS).find_one({"_id": context.payload["session_id"]})
    at, now = begins_at(deps, session) if session else None, unit.clock.clinical_now()
    if session is None or at is None:
        return
    if at > now:
        await watch(unit, deps, session)
        return
    after = model.recovered(session, now)
    await unit.collection(SESSIONS).replace_versioned(after)
    tell_recovery(unit, session, after)
    await record(unit, session, "recovery_began", now)
