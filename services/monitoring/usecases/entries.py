"""The timeline: whatever happens in a session is one entry of one ordered feed; nothing in it is ever changed."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from services.monitoring import schemas_entries as bodies
from services.monitoring.store import ENTRIES, SESSIONS
from services.monitoring.timeline import CORRECTABLE, CORRECTION, MOVED_AWAY, REPEAT
from services.monitoring.usecases.deps import Deps
from shared.events.monitoring import AdverseEventReported, InterventionRecorded
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.vault import Erased

MARKS = ("possible_repeat", "out_of_order", "note_sealed")  # of the recording, not of what was recorded
_BEFORE_CHECK_IN = ("scheduled", "voided")


def happened_at(unit: UnitOfWork, told: datetime | None) -> datetime:
    """When it happened: now where nothing is told, and now at the latest.

    No route is refused for the clock of a tablet that runs ahead, and nothing of the future may hide what comes after it.
    """
    now = unit.clock.clinical_now()
    return min(told or now, now)


async def record(
    unit: UnitOfWork, session: Document, kind: str, occurred_at: datetime | None = None, **facts: Any
) -> Document:
    """One more entry, of now at the latest; `facts` are codes and numbers, free text comes in sealed."""
    at, now = happened_at(unit, occurred_at), unit.clock.clinical_now()
    entry: Document = {
        "_id": new_id(),
        "schema_version": 1,
        "session_id": session["_id"],
        "kind": kind,
        "occurred_at": at,
        "recorded_at": now,
        "by": unit.scope.actor.id,
        "by_role": unit.scope.actor.role,
        "facts": {name: value for name, value in facts.items() if value is not None},
    }
    await unit.collection(ENTRIES).insert(entry)
    return entry


async def add(unit: UnitOfWork, deps: Deps, session_id: str, kind: str, body: bodies.Entry) -> Document:
    """An observation, intervention, support given or adverse event; accepted in every state, never refused.

    What comes before check-in is noted as out of order; two equal entries of one author within 60 s are both kept and
    the second is marked as a possible repeat. Raises NotFound.
    """
    session = await unit.collection(SESSIONS).get(session_id)
    audit(unit, f"session.{kind}", f"session/{session_id}", patient_id=session["patient_id"])
    return await write_down(unit, deps, session, kind, body, body.facts())


async def write_down(
    unit: UnitOfWork, deps: Deps, session: Document, kind: str, body: bodies.Entry, facts: Document
) -> Document:
    """The entry with its marks and its sealed note, told where it is to be told."""
    marks: Document = {
        "possible_repeat": await _seen_before(unit, session["_id"], kind, facts) or None,
        "out_of_order": session["state"] in _BEFORE_CHECK_IN or None,
    }
    if body.note:
        marks["note_sealed"] = await deps.vault.encrypt(unit, session["patient_id"], body.note)
    entry = await record(unit, session, kind, body.occurred_at, **facts, **marks)
    tell(unit, session, entry["_id"], entry)
    return entry


async def _seen_before(unit: UnitOfWork, session_id: str, kind: str, facts: Document) -> bool:
    query = {
        "session_id": session_id,
        "kind": kind,
        "by": unit.scope.actor.id,
        "recorded_at": {"$gt": unit.clock.clinical_now() - REPEAT},
    }
    for row in await unit.collection(ENTRIES).find(query):
        if {name: value for name, value in row["facts"].items() if name not in MARKS} == facts:
            return True
    return False


def tell(unit: UnitOfWork, session: Document, entry_id: str, entry: Document) -> None:
    """What others are to know of an entry as it is now; `entry_id` is the row that says so."""
    about = {"patient_id": session["patient_id"], "session_id": session["_id"]}
    aggregate, at, facts = f"entry/{entry_id}", entry["occurred_at"], entry["facts"]
    if entry["kind"] == "adverse_event":
        event = AdverseEventReported(
            **about,
            event_code=facts["event_code"],
            severity=facts["severity"],
            serious=facts["serious"],
            onset_at=at,
            resolved_at=facts.get("resolved_at"),
        )
        emit(unit, event, aggregate=aggregate, version=1)
    elif entry["kind"] == "intervention":
        done = InterventionRecorded(**about, intervention_code=facts["intervention_code"], at=at)
        emit(unit, done, aggregate=aggregate, version=1)


async def of_session(unit: UnitOfWork, session_id: str, *kinds: str) -> list[Document]:
    """Whatever was written down, corrections and moves among it; of other `kinds` too where they are named."""
    written = (*CORRECTABLE, CORRECTION, MOVED_AWAY, *kinds)
    return await unit.collection(ENTRIES).find({"session_id": session_id, "kind": {"$in": list(written)}})


async def note_corrections(unit: UnitOfWork, session_id: str, shown: list[Document]) -> None:
    """Name the newest correction beside each entry that has one."""
    query = {"session_id": session_id, "kind": CORRECTION, "facts.corrects": {"$in": [item["id"] for item in shown]}}
    rows = await unit.collection(ENTRIES).find(query, sort=[("recorded_at", 1), ("_id", 1)])
    newest = {row["facts"]["corrects"]: row["_id"] for row in rows}
    for item in shown:
        if item["id"] in newest:
            item["corrected_by"] = newest[item["id"]]


async def intention(unit: UnitOfWork, deps: Deps, session: Document) -> str | None:
    """What the patient wishes of the session, opened; None where nothing was told, and of an erased patient."""
    sealed, words = session.get("intention_sealed"), None
    if sealed is not None:
        with suppress(Erased):
            words = str(await deps.vault.decrypt(unit, session["patient_id"], sealed))
    return words


async def open_notes(unit: UnitOfWork, deps: Deps, session: Document, shown: list[Document]) -> None:
    """Put the free text of the entries that have one beside them, opened; an erased patient's stays away.

    With the check-in stands the intention of the session.
    """
    query = {"_id": {"$in": [item["id"] for item in shown]}, "facts.note_sealed": {"$exists": True}}
    sealed = {row["_id"]: row["facts"]["note_sealed"] for row in await unit.collection(ENTRIES).find(query)}
    for item in shown:
        if item["kind"] == "checked_in":
            item["intention"] = await intention(unit, deps, session)
        if item["id"] not in sealed:
            continue
        with suppress(Erased):
            item["note"] = await deps.vault.decrypt(unit, session["patient_id"], sealed[item["id"]])
