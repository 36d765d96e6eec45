"""Every way out of a session: discharge, leave, abort, void, completion; and the emergency that may come at any time."""

from services.monitoring import model, schemas
from services.monitoring.discharge import Findings, criteria
from services.monitoring.model import ENDED, PHASE
from services.monitoring.store import ALARMS, ENGINES, ENTRIES, SESSIONS, VITALS
from services.monitoring.usecases import devices, folding, raising
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import record
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import SYSTOLIC
from shared.errors import Conflict
from shared.events.monitoring import (
    Criterion,
    EmergencyCalled,
    EmergencyEnded,
    PatientDischarged,
    SessionAborted,
    SessionCompleted,
)
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork


async def _save(unit: UnitOfWork, session: Document, after: Document) -> None:
    """A session that is not watched any more has no open alarm and no engine."""
    await unit.collection(SESSIONS).replace_versioned(after)
    if session["watched"] and not after["watched"]:
        await raising.end_all(unit, after)
        await unit.collection(ENGINES).delete({"_id": after["_id"]})
        await devices.release_all(unit, after, after["ended_at"])
        await folding.later(unit, after, after["ended_at"])


async def discharge(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Discharge) -> Document:
    """Raises NotFound, Conflict with every criterion that is not met."""
    session, now = await load(unit, session_id, "discharge"), unit.clock.clinical_now()
    after = model.move(session, "discharge", now, ended_at=now)
    found = await _findings(unit, session, body)
    checked = criteria(deps.protocol(session).discharge, found)
    unmet = [item.criterion for item in checked if not item.met]
    if unmet:
        reasons = [{"code": name, "detail": f"The criterion {name} is not met."} for name in unmet]
        raise Conflict("The patient may not leave yet; /leave records every other way out.", reasons=reasons)
    await _save(unit, session, after)
    _tell_gone(unit, after, "escort", found.minutes, checked)
    await record(unit, after, "discharged", minutes_from_last_dose=found.minutes)
    return after


async def _findings(unit: UnitOfWork, session: Document, body: schemas.Discharge) -> Findings:
    query = {"session_id": session["_id"], "sign": SYSTOLIC, "quarantined": None, "moved_to": None}
    query["decision"] = {"$ne": "artefact"}
    latest = await unit.collection(VITALS).find(query, sort=[("taken_at", -1)], limit=1)
    return Findings(
        last_dose_at=session["doses"][-1]["at"],
        now=unit.clock.clinical_now(),
        baseline_systolic=session["baseline"]["systolic"],
        systolic=latest[0]["value"] if latest else None,
        open_alarms=await unit.collection(ALARMS).count({"session_id": session["_id"], "open": True}),
        **body.model_dump(),
    )


def _tell_gone(
    unit: UnitOfWork, after: Document, disposition: schemas.Disposition, minutes: int, checked: list[Criterion]
) -> None:
    event = PatientDischarged(
        patient_id=after["patient_id"],
        session_id=after["_id"],
        at=after["ended_at"],
        disposition=disposition,
        minutes_from_last_dose=minutes,
        criteria=checked,
        escort_confirmed=disposition == "escort",
    )
    emit(unit, event, aggregate=f"session/{after['_id']}", version=after["version"])


async def leave(unit: UnitOfWork, session_id: str, body: schemas.Leave) -> Document:
    """Against advice, unseen, transferred, died: always open. Idempotent by state. Raises NotFound."""
    session, now = await load(unit, session_id, "leave"), unit.clock.clinical_now()
    after = model.left(session, body.occurred_at or now)
    await record(
        unit, session, "left", body.occurred_at, disposition=body.disposition, repeated=after is session or None
    )
    if after is session:
        return session
    await _save(unit, session, after)
    last = session["doses"][-1]["at"] if session["doses"] else after["ended_at"]
    minutes = max(int((after["ended_at"] - last).total_seconds() // 60), 0)
    _tell_gone(unit, after, body.disposition, minutes, [])
    return after


async def abort(unit: UnitOfWork, session_id: str, body: schemas.Abort) -> Document:
    """Before a dose the session ends; after one the watching goes on in recovery. Idempotent. Raises NotFound."""
    session, now = await load(unit, session_id, "abort"), unit.clock.clinical_now()
    after = model.aborted(session, now)
    again = after is session or session["aborted"]
    await record(unit, session, "aborted", body.occurred_at, reason_code=body.reason_code, repeated=again or None)
    if again:
        return session
    await _save(unit, session, after)
    event = SessionAborted(
        patient_id=session["patient_id"],
        session_id=session_id,
        appointment_id=session["appointment_id"],
        plan_id=session["plan_id"],
        reason_code=body.reason_code,
        phase=PHASE.get(session["state"], "recovery"),
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    return after


async def void(unit: UnitOfWork, session_id: str, body: schemas.Abort) -> Document:
    """Opened by mistake; only before a dose. Raises NotFound, Conflict."""
    session, now = await load(unit, session_id, "void"), unit.clock.clinical_now()
    after = model.move(session, "void", now, ended_at=now)
    await _save(unit, session, after)
    await record(unit, after, "voided", body.occurred_at, reason_code=body.reason_code)
    return after


async def complete(unit: UnitOfWork, session_id: str) -> Document:
    """Raises NotFound, Conflict."""
    session, now = await load(unit, session_id, "complete"), unit.clock.clinical_now()
    after = model.move(session, "complete", now)
    await unit.collection(SESSIONS).replace_versioned(after)
    of_session = {"session_id": session_id}
    started = session["started_at"] or session["ended_at"]
    event = SessionCompleted(
        session_id=session_id,
        duration_min=max(int((session["ended_at"] - started).total_seconds() // 60), 0),
        dose_total_mg=sum(dose["amount_mg"] for dose in session["doses"]),
        alarm_count=await unit.collection(ALARMS).count(of_session),
        adverse_event_count=await unit.collection(ENTRIES).count({**of_session, "kind": "adverse_event"}),
        outcome_code="aborted" if session["aborted"] else "completed",
        **{name: session[name] for name in ("patient_id", "appointment_id", "plan_id", "sequence_no")},
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "completed")
    return after


async def call_emergency(unit: UnitOfWork, session_id: str, body: schemas.Emergency) -> Document:
    """All staff at once; starts the code clock. Called again it is one more entry and one more call. Raises NotFound."""
    session = await load(unit, session_id, "emergency")
    entry = await record(unit, session, "emergency_called", body.occurred_at, code=body.code)
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
    return entry


async def end_emergency(unit: UnitOfWork, session_id: str, body: schemas.Moment) -> Document:
    """Raises NotFound."""
    session = await load(unit, session_id, "emergency_end")
    entry = await record(unit, session, "emergency_ended", body.occurred_at, ended_session=session["state"] in ENDED)
    event = EmergencyEnded(
        patient_id=session["patient_id"],
        session_id=session_id,
        by_role=unit.scope.actor.role,
        at=entry["occurred_at"],
    )
    emit(unit, event, aggregate=f"entry/{entry['_id']}", version=1)
    return entry
