"""The session's states as one table; a forbidden transition says what is missing."""

from datetime import datetime
from typing import Any, Literal

from services.monitoring.limits import Phase
from services.monitoring.protocol import Kind
from services.monitoring.protocol import SessionProtocol as SessionProtocol  # noqa: PLC0414 - its name here
from services.monitoring.timeline import REPEAT
from shared.errors import Conflict
from shared.events.monitoring import WITHOUT_DOSE
from shared.persistence.mongo import Document

# step: {state: the state after it}. A dose judges the gate itself, so it may come right after the baseline.
TRANSITIONS: dict[str, dict[str, str]] = {
    "check_in": {"scheduled": "checked_in"},
    "baseline": {"checked_in": "baseline", "baseline": "baseline", "gate_open": "baseline"},
    "open_gate": {"baseline": "gate_open", "gate_open": "gate_open", "dosing": "dosing", "recovery": "recovery"},
    "expire_gate": {"gate_open": "baseline"},
    "dose": {"baseline": "dosing", "gate_open": "dosing", "dosing": "dosing", "recovery": "dosing"},
    "discharge": {"dosing": "discharged", "recovery": "discharged"},
    "complete": {"discharged": "completed", "left": "completed"},
    "void": {"scheduled": "voided", "checked_in": "voided", "baseline": "voided", "gate_open": "voided"},
}
# Where nobody was dosed nobody recovers: preparation, integration and wellness end when they are over, a group too.
UNDOSED_ENDS = {"checked_in": "completed", "baseline": "completed", "gate_open": "completed"}
MISSING: dict[str, tuple[str, ...]] = {
    "scheduled": ("check-in", "baseline", "dose", "discharge or leave"),
    "checked_in": ("baseline", "dose", "discharge or leave"),
    "baseline": ("dose", "discharge or leave"),
    "gate_open": ("dose", "discharge or leave"),
    "dosing": ("discharge or leave",),
    "recovery": ("discharge or leave",),
}
PHASE: dict[str, Phase] = {
    "scheduled": "baseline",
    "checked_in": "baseline",
    "baseline": "baseline",
    "gate_open": "baseline",
    "dosing": "dosing",
    "recovery": "recovery",
}
OPEN = ("checked_in", "baseline", "gate_open", "dosing", "recovery")
ENDED = ("discharged", "left", "completed", "aborted", "voided")
# How many of the four steps on the way lie before each.
_REACHED = {
    "check_in": 0,
    "baseline": 1,
    "open_gate": 2,
    "expire_gate": 2,
    "dose": 2,
    "discharge": 3,
    "complete": 4,
    "void": 0,
}
_ENDS = frozenset({"discharge", "complete", "void"})


def kind_of(session: Document) -> Kind:
    """A session from before there were kinds is one of dosing."""
    kind: Kind = session.get("kind", "dosing")
    return kind


def changed(session: Document, now: datetime, **fields: object) -> Document:
    """The session's next version; `watched` says whether anything in it is still to be evaluated."""
    after: Document = {**session, **fields, "version": session["version"] + 1, "updated_at": now}
    return after | {"watched": after["state"] in OPEN}


def move(session: Document, step: str, now: datetime, **fields: object) -> Document:
    """The session after `step`; one that ends it for the first time notes when. Raises Conflict."""
    allowed, state = _allowed(session, step), session["state"]
    if state not in allowed:
        raise Conflict(reasons=[{"code": "state", "detail": _needed(session, step, allowed)}])
    if step == "dose":
        _may_be_dosed(session)
    if step in _ENDS and session.get("ended_at") is None:
        fields = {"ended_at": now} | fields
    return changed(session, now, **fields, state=allowed[state])


def _allowed(session: Document, step: str) -> dict[str, str]:
    without = step == "complete" and (kind_of(session) != "dosing")
    return TRANSITIONS[step] | (UNDOSED_ENDS if without else {})


def _needed(session: Document, step: str, allowed: dict[str, str]) -> str:
    state = session["state"]
    text = f"The session is {state}; {step.replace('_', '-')} needs {' or '.join(sorted(allowed))}."
    chain = MISSING.get(state, ())
    reached = _REACHED[step]
    missing = chain[: max(reached - (4 - len(chain)), 0)]
    if step == "complete" and kind_of(session) != "dosing" and state == "scheduled":
        missing = chain[:1]
    return f"{text} Missing: {', '.join(missing)}." if missing else text


def _may_be_dosed(session: Document) -> None:
    if kind_of(session) in WITHOUT_DOSE:
        text = f"A session of the kind {kind_of(session)} has no dose."
        raise Conflict(text, reasons=[{"code": "kind", "detail": text}])
    _not_aborted(session)


def _not_aborted(session: Document) -> None:
    if session["aborted"]:
        text = "The session was aborted: its dosing has ended."
        raise Conflict(text, reasons=[{"code": "aborted", "detail": text}])


def aborted(session: Document, now: datetime) -> Document:
    """Before a dose this ends the session; after one it ends the dosing, and the watching goes on in recovery."""
    if session["state"] in ENDED:
        return session
    if session["doses"]:
        return changed(_over(session, now), now, state="recovery", aborted=True)
    return changed(session, now, state="aborted", aborted=True, ended_at=now)


def stopped(session: Document, now: datetime) -> Document:
    """The dose ended; where nobody is here, nothing moves, the entry alone is kept.

    Told for later than before it counts: what was thought to have ended had run on. Said again, or told for earlier, it
    moves nothing. A session in recovery whose end is not known (a dose moved there) learns it late.
    """
    if session["state"] not in ("dosing", "recovery"):
        return session
    known: Document = session.get("infusion") or {}
    again = known.get("state") == "stopped" and now <= known["since"] + REPEAT
    ended = session if again else _infused(session, "stopped", now)
    return session if session["state"] == "recovery" and ended is session else changed(ended, now, state="recovery")


def recovered(session: Document, now: datetime) -> Document:
    """The effect of the last dose is past its peak; only from dosing."""
    return changed(session, now, state="recovery") if session["state"] == "dosing" else session


def left(session: Document, now: datetime) -> Document:
    """Gone by another way than discharge; a session that ended stays as it ended."""
    return session if session["state"] in ENDED else changed(session, now, state="left", ended_at=now)


def outcome(session: Document) -> Literal["completed", "aborted"]:
    """Aborted as well where nobody was dosed who came for it, as an abort before a dose is, and after a death."""
    undosed = kind_of(session) == "dosing" and not session["doses"]
    return "aborted" if session["aborted"] or undosed or way_out(session) == "died" else "completed"


def way_out(session: Document) -> str | None:
    """The disposition; None where the session ended by itself."""
    told: str | None = (session.get("disposition") or {}).get("disposition")
    return told


def infusion(
    session: Document, verb: Literal["pause", "resume", "rate"], now: datetime, rate: float | None
) -> Document:
    """The infusion paused, running again or at another rate (mg/h).

    A pause is noted in every state; what lets more flow needs a dose that runs, and is dosing again where recovery had
    begun: raises Conflict. Said again it changes nothing.
    """
    if verb != "pause":
        _may_flow(session)
    elif not runs(session):
        return session
    state = {"pause": "paused", "resume": "running", "rate": None}[verb]
    if state is not None and (session.get("infusion") or {}).get("state") == state:
        return session
    kept = session["state"] if verb == "pause" else "dosing"
    return changed(_infused(session, state, now, rate), now, state=kept)


def runs(session: Document) -> bool:
    """Whether a dose runs: an infusion whose end nobody has told runs in recovery too, which begins by itself."""
    begun: bool = (session.get("infusion") or {}).get("state", "stopped") != "stopped"
    return session["state"] == "dosing" or (session["state"] == "recovery" and begun)


def _may_flow(session: Document) -> None:
    if not runs(session):
        text = f"The session is {session['state']}: no dose is running."
        raise Conflict(text, reasons=[{"code": "no_running_dose", "detail": text}])
    _not_aborted(session)


def started(session: Document, at: datetime, rate: float | None) -> Document:
    """What runs once a dose was begun; one more beside an infusion that has not ended leaves that as it is."""
    known: Document = session.get("infusion") or {}
    if rate is None and known.get("state", "stopped") != "stopped":
        return known
    return {"state": "running", "since": at, "rate_mg_per_h": rate}


def _over(session: Document, at: datetime) -> Document:
    """With the end of what was given, kept as it was told."""
    ended = (session.get("infusion") or {}).get("state") == "stopped"
    return session if ended else _infused(session, "stopped", at)


def _infused(session: Document, state: str | None, at: datetime, rate: float | None = None) -> Document:
    known: dict[str, Any] = session.get("infusion") or {}
    if not known and rate is None and state != "stopped":
        return session
    given = {"state": state or known.get("state", "running"), "since": at}
    rate = rate if rate is not None else known.get("rate_mg_per_h")
    return {**session, "infusion": {**known, **given, "rate_mg_per_h": rate}}
