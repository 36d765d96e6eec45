"""Controlled substances: waste with a witness, and the log of a day."""

from datetime import date
from zoneinfo import ZoneInfo

from services.monitoring import schemas_session as bodies
from services.monitoring import substances
from services.monitoring.store import ENTRIES, SESSIONS
from services.monitoring.timeline import CORRECTION, MOVED_AWAY
from services.monitoring.usecases import projections
from services.monitoring.usecases.entries import record
from services.monitoring.usecases.sessions import load
from shared.errors import Conflict, FieldError, Invalid
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork

UNKNOWN_ZONE = "UTC"
UNKNOWN = "witness_unknown"


async def waste(unit: UnitOfWork, session_id: str, body: bodies.Waste) -> Document:
    """In every state after check-in. Raises NotFound, Conflict before it, Invalid for one's own witness."""
    session = await load(unit, session_id, "waste")
    if session["state"] in ("scheduled", "voided"):
        text = f"The session is {session['state']}: nothing was drawn up."
        raise Conflict(text, reasons=[{"code": "state", "detail": text}])
    known = await witnessed(unit, session, body.witness)
    facts = body.model_dump(exclude={"occurred_at"})
    return await record(unit, session, "waste", body.occurred_at, **facts, **{UNKNOWN: not known or None})


async def witnessed(
    unit: UnitOfWork, session: Document, witness: str, at: str = "", wasted_by: str | None = None
) -> bool:
    """Whether the staff directory knows the witness.

    Raises Invalid for whoever records it, for whoever wasted it, and for one who has left.
    """
    if witness in (unit.scope.actor.id, wasted_by):
        raise _invalid(at, "The witness is another person.", "witness_is_author")
    known = (await projections.known(unit, session["patient_id"], ("staff", witness))).get("staff")
    if known and not known[0]["roles"]:
        raise _invalid(at, "The witness has left the clinic.", "witness_has_left")
    return bool(known)


def _invalid(at: str, text: str, code: str) -> Invalid:
    return Invalid(errors=[FieldError(f"{at}/witness", text, code)])


async def log_of(unit: UnitOfWork, day: date | None) -> str:
    """The clinic's doses and waste of a day in its own time zone, as CSV; audited."""
    clinic = await projections.clinic(unit)
    zone = clinic["time_zone"] if clinic else UNKNOWN_ZONE
    day = day or unit.clock.clinical_now().astimezone(ZoneInfo(zone)).date()
    since, until = substances.day_of(day, zone)
    kinds = list(substances.KINDS)
    query = {"kind": {"$in": [*kinds, CORRECTION]}, "occurred_at": {"$gte": since, "$lt": until}}
    rows = await unit.collection(ENTRIES).find(query)
    entries = [row for row in rows if row["facts"].get("corrected_kind", row["kind"]) in kinds]
    ids = sorted({entry["session_id"] for entry in entries})
    sessions = await unit.collection(SESSIONS).find({"_id": {"$in": ids}})
    audit(unit, "controlled_substances.read", "controlled-substances")
    written = {"session_id": {"$in": ids}, "kind": {"$in": [*kinds, CORRECTION, MOVED_AWAY, substances.STOP]}}
    beside = await unit.collection(ENTRIES).find(written)
    return substances.as_csv(entries, beside, {row["_id"]: row["patient_id"] for row in sessions})
