"""The session's states as one table; a forbidden transition says what is missing."""

from datetime import datetime

from services.monitoring.limits import Phase
from services.monitoring.protocol import SessionProtocol as SessionProtocol  # noqa: PLC0414 - its name here
from shared.errors import Conflict
from shared.persistence.mongo import Document

TRANSITIONS: dict[str, dict[str, str]] = {
    "check_in": {"scheduled": "checked_in"},
    "baseline": {"checked_in": "baseline", "baseline": "baseline"},
    "dose": {"baseline": "dosing", "dosing": "dosing", "recovery": "dosing"},
    "discharge": {"dosing": "discharged", "recovery": "discharged"},
    "complete": {"discharged": "completed", "left": "completed"},
    "void": {"scheduled": "voided", "checked_in": "voided", "baseline": "voided"},
}
PHASE: dict[str, Phase] = {
    "scheduled": "baseline",
    "checked_in": "baseline",
    "baseline": "baseline",
    "dosing": "dosing",
    "recovery": "recovery",
}
OPEN = ("checked_in", "baseline", "dosing", "recovery")
ENDED = ("discharged", "left", "completed", "aborted", "voided")


def changed(session: Document, now: datetime, **fields: object) -> Document:
    """The session's next version; `watched` says whether anything in it is still to be evaluated."""
    after: Document = {**session, **fields, "version": session["version"] + 1, "updated_at": now}
    return after | {"watched": after["state"] in OPEN}


def move(session: Document, step: str, now: datetime, **fields: object) -> Document:
    """The session after `step`. Raises Conflict."""
    allowed = TRANSITIONS[step]
    state = session["state"]
    if state not in allowed:
        needed = " or ".join(sorted(allowed))
        reason = {"code": "state", "detail": f"The session is {state}; {step.replace('_', '-')} needs {needed}."}
        raise Conflict(reasons=[reason])
    return changed(session, now, **fields, state=allowed[state])


def aborted(session: Document, now: datetime) -> Document:
    """Before a dose this ends the session; after one it ends the dosing, and the watching goes on in recovery."""
    if session["state"] in ENDED:
        return session
    if session["doses"]:
        return changed(session, now, state="recovery", aborted=True)
    return changed(session, now, state="aborted", aborted=True, ended_at=now)


def stopped(session: Document, now: datetime) -> Document:
    """The dose ended; in any other state nothing moves, the entry alone is kept."""
    return changed(session, now, state="recovery") if session["state"] == "dosing" else session


def left(session: Document, now: datetime) -> Document:
    """Gone by another way than discharge; a session that ended stays as it ended."""
    return session if session["state"] in ENDED else changed(session, now, state="left", ended_at=now)
