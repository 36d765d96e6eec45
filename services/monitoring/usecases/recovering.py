"""Recovery begins by itself: nobody stops a lozenge, an injection or a spray, and a push into a vein may be forgotten.

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
    if session["state"] != "dosing" or not session["doses"] or _goes_on(infusion):
        return None
    times: list[datetime] = [dose["at"] for dose in session["doses"]]
    if infusion.get("state") == "running":
        times.append(infusion["since"])
    return max(times) + _dosing(deps, session)


def _goes_on(infusion: Document) -> bool:
    """At a rate, or paused: what runs and has none told is a push, or over by then as one is."""
    state, rate = infusion.get("state", "stopped"), infusion.get("rate_mg_per_h")
    return state == "paused" or (state != "stopped" and rate is not None)


def _dosing(deps: Deps, session: Document) -> timedelta:
    return timedelta(minutes=getattr(deps.protocol(session), "dosing_minutes", DOSING_MINUTES))


async def watch(unit: UnitOfWork, deps: Deps, session: Document) -> None:
    """Set the timer, or set it anew, for the doses that there are now; where an infusion goes on, to look again."""
    if session["state"] != "dosing":
        return
    at = begins_at(deps, session) or unit.clock.clinical_now() + _dosing(deps, session)
    await set_timer(unit, RECOVERY, f"recovery:{session['_id']}", at, {"session_id": session["_id"]})


async def on_over(context: TimerContext) -> None:
    """The time of dosing has passed, or a later dose has been given since, or what was paused has gone on."""
    unit, deps = context.unit, context.deps
    session = await unit.collection(SESSIONS).find_one({"_id": context.payload["session_id"]})
    at, now = begins_at(deps, session) if session else None, unit.clock.clinical_now()
    if session is None:
        return
    if at is None or at > now:
        await watch(unit, deps, session)
        return
    after = model.recovered(session, now)
    await unit.collection(SESSIONS).replace_versioned(after)
    tell_recovery(unit, session, after)
    await record(unit, session, "recovery_began", now)
