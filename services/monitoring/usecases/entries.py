"""The timeline: whatever happens in a session is one entry of one ordered feed; nothing in it is ever changed."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from services.monitoring import schemas
from services.monitoring.store import ENTRIES, SESSIONS
from services.monitoring.usecases.deps import Deps
from shared.events.monitoring import AdverseEventReported, InterventionRecorded
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.vault import Erased

REPEAT = timedelta(seconds=60)
_BEFORE_CHECK_IN = ("scheduled", "voided")


async def record(
    unit: UnitOfWork, session: Document, kind: str, occurred_at: datetime | None = None, **facts: Any
) -> Document:
    """One more entry; `facts` are codes and numbers, free text comes in sealed."""
    now = unit.clock.clinical_now()
    entry: Document = {
        "_id": new_id(),
        "schema_version": 1,
        "session_id": session["_id"],
        "kind": kind,
        "occurred_at": occurred_at or now,
        "recorded_at": now,
        "by": unit.scope.actor.id,
        "by_role": unit.scope.actor.role,
        "facts": {name: value for name, value in facts.items() if value is not None},
    }
    await unit.collection(ENTRIES).insert(entry)
    return entry


async def add(unit: UnitOfWork, deps: Deps, session_id: str, kind: str, body: schemas.Entry) -> Document:
    """An observation, intervention, support given or adverse event; accepted in every state, never refused.

    What comes before check-in is noted as out of order; two equal entries of one author within 60 s are both kept and
    the second is marked as a possible repeat. Raises NotFound.
    """
    session = await unit.collection(SESSIONS).get(session_id)
    audit(unit, f"session.{kind}", f"session/{session_id}", patient_id=session["patient_id"])
    facts = body.facts()
    facts["possible_repeat"] = await _seen_before(unit, session_id, kind, facts) or None
    facts["out_of_order"] = session["state"] in _BEFORE_CHECK_IN or None
    if body.note:
        facts["note_sealed"] = await deps.vault.encrypt(unit, session["patient_id"], body.note)
    entry = await record(unit, session, kind, body.occurred_at, **facts)
    _tell(unit, session, entry, body)
    return entry


async def _seen_before(unit: UnitOfWork, session_id: str, kind: str, facts: Document) -> bool:
    query = {
        "session_id": session_id,
        "kind": kind,
        "by": unit.scope.actor.id,
        "recorded_at": {"$gt": unit.clock.clinical_now() - REPEAT},
    }
    ignored = ("possible_repeat", "out_of_order", "note_sealed")
    for row in await unit.collection(ENTRIES).find(query):
        if {name: value for name, value in row["facts"].items() if name not in ignored} == facts:
            return True
    return False


def _tell(unit: UnitOfWork, session: Document, entry: Document, body: schemas.Entry) -> None:
    about = {"patient_id": session["patient_id"], "session_id": session["_id"]}
    aggregate, at = f"entry/{entry['_id']}", entry["occurred_at"]
    if isinstance(body, schemas.AdverseEvent):
        event = AdverseEventReported(
            **about,
            event_code=body.event_code,
            severity=body.severity,
            serious=body.serious,
            onset_at=at,
            resolved_at=body.resolved_at,
        )
        emit(unit, event, aggregate=aggregate, version=1)
    elif isinstance(body, schemas.Intervention):
        done = InterventionRecorded(**about, intervention_code=body.intervention_code, at=at)
        emit(unit, done, aggregate=aggregate, version=1)


async def open_notes(unit: UnitOfWork, deps: Deps, session: Document, shown: list[Document]) -> None:
    """Put the free text of the entries that have one beside them, opened; an erased patient's stays away."""
    query = {"_id": {"$in": [item["id"] for item in shown]}, "facts.note_sealed": {"$exists": True}}
    sealed = {row["_id"]: row["facts"]["note_sealed"] for row in await unit.collection(ENTRIES).find(query)}
    for item in shown:
        if item["id"] not in sealed:
            continue
        with suppress(Erased):
            item["note"] = await deps.vault.decrypt(unit, session["patient_id"], sealed[item["id"]])
