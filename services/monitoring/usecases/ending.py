"""Every way out of a session but the discharge: leave, abort, void, completion."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.monitoring import model, schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.discharge import last_given, minutes_since
from services.monitoring.engines import engine_of
from services.monitoring.model import PHASE
from services.monitoring.store import ALARMS, ENGINES, ENTRIES, SESSIONS
from services.monitoring.substances import STOP, given_in_all
from services.monitoring.timeline import present
from services.monitoring.usecases import devices, folding, raising
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import happened_at, of_session, record, tell, write_down
from services.monitoring.usecases.sessions import in_place_of, load
from services.monitoring.usecases.telling import state_of, tell_recovery
from shared.events.monitoring import Criterion, PatientDischarged, SessionAborted, SessionCompleted
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork


async def save_end(unit: UnitOfWork, session: Document, after: Document) -> None:
    """A session that is not watched any more has no open alarm, and an engine of which nothing is left.

    The engine is written, not taken away: of a calm session there is none, and whoever raises an alarm at this moment
    makes one. So the two meet in one document, and the second is run again and sees the first.
    """
    await unit.collection(SESSIONS).replace_versioned(after)
    if session["watched"] and not after["watched"]:
        await raising.end_all(unit, after)
        await unit.collection(ENGINES).put(engine_of(after["_id"], {}, {}) | {"turn": new_id()})
        await devices.release_all(unit, after, after["ended_at"])
        await folding.later(unit, after, after["ended_at"])


def tell_gone(
    unit: UnitOfWork, after: Document, disposition: str, minutes: int, checked: Sequence[Criterion] = (), **more: Any
) -> None:
    event = PatientDischarged.model_validate(
        {
            "patient_id": after["patient_id"],
            "session_id": after["_id"],
            "at": after["ended_at"],
            "disposition": disposition,
            "minutes_from_last_dose": minutes,
            "criteria": list(checked),
            "escort_confirmed": any(item.criterion == "escort_confirmed" and item.met for item in checked),
            **more,
        }
    )
    emit(unit, event, aggregate=f"session/{after['_id']}", version=after["version"])


def _gone_at(unit: UnitOfWork, session: Document, told: datetime | None) -> datetime:
    """No earlier than what was done here last: a way out is refused to nobody for a wrong time."""
    here = [session.get("checked_in_at"), session["baseline_at"], *(dose["at"] for dose in session["doses"])]
    at: datetime = max([happened_at(unit, told), *filter(None, here)])
    return at


async def _died_before(unit: UnitOfWork, session_id: str) -> bool:
    told = {"session_id": session_id, "kind": "left", "facts.disposition": "died"}
    return await unit.collection(ENTRIES).find_one(told) is not None


async def leave(unit: UnitOfWork, deps: Deps, session_id: str, body: bodies.Leave) -> Document:
    """Against advice, unseen, transferred, died: always open, each with a record of its own.

    Idempotent by state: said again it is one more entry, and the session stays as it ended; a death is told once,
    whatever it came after. Raises NotFound.
    """
    session = await load(unit, session_id, "leave")
    at = _gone_at(unit, session, body.occurred_at)
    after = model.left(session, at)
    facts = body.facts() | ({"repeated": True} if after is session else {})
    died = body.disposition == "died" and not await _died_before(unit, session_id)
    entry = await write_down(unit, deps, session, "left", body.model_copy(update={"occurred_at": at}), facts)
    if died:
        fatal = await record(unit, session, "adverse_event", at, event_code="other", severity="severe", serious=True)
        tell(unit, session, fatal["_id"], fatal)
    if after is session:
        return session
    after |= {"disposition": {**body.facts(), "at": at, "by_role": unit.scope.actor.role, "entry_id": entry["_id"]}}
    await save_end(unit, session, after)
    if session["state"] == "scheduled":
        return after  # who never came has no aftercare, and nobody looks for them
    last = last_given(session, infused=getattr(deps.protocol(session), "infused", False))
    tell_gone(unit, after, body.disposition, minutes_since(last, at))
    return after


async def abort(unit: UnitOfWork, session_id: str, body: schemas.Abort) -> Document:
    """Before a dose the session ends; after one the watching goes on in recovery. Idempotent. Raises NotFound."""
    session = await load(unit, session_id, "abort")
    at = _gone_at(unit, session, body.occurred_at)
    after = model.aborted(session, at)
    again = after is session or session["aborted"]
    await record(unit, session, "aborted", at, reason_code=body.reason_code, repeated=again or None)
    if again:
        return session
    after |= {"updated_at": unit.clock.clinical_now()}
    await save_end(unit, session, after)
    tell_recovery(unit, session, after)
    event = SessionAborted(
        patient_id=session["patient_id"],
        session_id=session_id,
        appointment_id=session["appointment_id"],
        plan_id=session["plan_id"],
        reason_code=body.reason_code,
        kind=model.kind_of(session),
        phase=PHASE.get(session["state"], "recovery"),
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    return after


async def void(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Abort) -> Document:
    """Opened, or checked in, by mistake; only before a dose. A visit that was checked in by mistake waits in another.

    Raises NotFound, Conflict.
    """
    session, now = await load(unit, session_id, "void"), unit.clock.clinical_now()
    at = _gone_at(unit, session, body.occurred_at)
    visit, waits = session["appointment_id"], session["appointment_id"] and session["state"] != "scheduled"
    after = model.move(session, "void", now, ended_at=at, appointment_id=None if waits else visit)
    await save_end(unit, session, after)
    other = await in_place_of(unit, deps, session) if waits else None
    told = state_of(after | {"appointment_id": visit})
    emit(unit, told, aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "voided", at, reason_code=body.reason_code, replaced_by=other)
    return after


async def complete(unit: UnitOfWork, session_id: str, told: datetime | None = None) -> Document:
    """What has not ended by another way ended at the time that is `told`. Raises NotFound, Conflict."""
    session, now = await load(unit, session_id, "complete"), unit.clock.clinical_now()
    at = happened_at(unit, told)
    after = model.move(session, "complete", now, ended_at=session.get("ended_at") or at)
    await save_end(unit, session, after)
    written = await of_session(unit, session_id, STOP)
    started = session["started_at"] or session.get("checked_in_at") or after["ended_at"]
    event = SessionCompleted(
        session_id=session_id,
        duration_min=max(int((after["ended_at"] - started).total_seconds() // 60), 0),
        dose_total_mg=given_in_all(written),
        alarm_count=await unit.collection(ALARMS).count({"session_id": session_id}),
        adverse_event_count=sum(entry["kind"] == "adverse_event" for entry in present(written)),
        kind=model.kind_of(session),
        outcome_code=model.outcome(session),
        disposition=model.way_out(session),
        **{name: session[name] for name in ("patient_id", "appointment_id", "plan_id", "sequence_no")},
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "completed", at)
    return after
