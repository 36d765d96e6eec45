"""The dose: its gate, the dose itself, and what a nurse does with it while it runs."""

from datetime import datetime
from typing import Literal

from services.monitoring import gate, model, schemas
from services.monitoring.gate import Found, Reason
from services.monitoring.store import PLANS, SESSIONS
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import record
from services.monitoring.usecases.sessions import load
from shared.errors import Conflict, Forbidden
from shared.events.monitoring import (
    DoseAdministered,
    DoseGateOverridden,
    DoseGateRefused,
    DosePaused,
    DoseResumed,
    DoseStopped,
    SessionStarted,
)
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import Scope

OVERRIDERS = ("prescriber", "medical_director")


async def judge(unit: UnitOfWork, deps: Deps, session: Document, amount_mg: float | None) -> list[Reason]:
    """Every reason against the dose, as things are known now."""
    plan = await unit.collection(PLANS).find_one({"_id": session["plan_id"]}) if session["plan_id"] else None
    base, protocol = session["baseline"], deps.protocol(session)
    mg_per_kg = round(amount_mg / base["weight_kg"], 3) if amount_mg is not None and base else None
    found = Found(
        now=unit.clock.clinical_now(),
        baseline=base,
        baseline_at=session["baseline_at"],
        readiness=session["readiness"],
        planned=session["plan_id"] is not None,
        plan=plan,
        last_dose_at=await _last_dose_elsewhere(unit, session),
        mg_per_kg=mg_per_kg,
        ceiling_mg_per_kg=protocol.ceiling_mg_per_kg,
        first_dose=not session["doses"],
    )
    return gate.reasons(protocol.gate, found)


async def _last_dose_elsewhere(unit: UnitOfWork, session: Document) -> datetime | None:
    query = {"patient_id": session["patient_id"], "_id": {"$ne": session["_id"]}, "doses.0": {"$exists": True}}
    rows = await unit.collection(SESSIONS).find(query, sort=[("_id", -1)], limit=5)
    return max((row["doses"][-1]["at"] for row in rows), default=None)


async def give(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Dose) -> Document:
    """The gate is judged at the dose itself. Raises NotFound, Conflict with every reason, Forbidden."""
    session, now = await load(unit, session_id, "dose"), unit.clock.clinical_now()
    first = not session["doses"]
    after = model.move(session, "dose", now)
    found = await judge(unit, deps, session, body.amount_mg)
    if gate.closed(found):
        _override(unit, session, found, body)
    mg_per_kg = round(body.amount_mg / session["baseline"]["weight_kg"], 3)
    at = body.occurred_at or now
    given = body.model_dump(exclude={"occurred_at", "override_reason"})
    after |= {"doses": [*session["doses"], {**given, "mg_per_kg": mg_per_kg, "at": at}]}
    if first:
        after["started_at"] = at
    await unit.collection(SESSIONS).replace_versioned(after)
    _tell_dose(unit, deps, after, body, mg_per_kg, first=first)
    codes = [reason.code for reason in found if reason.kind != "note"] or None
    facts = {"amount_mg": body.amount_mg, "mg_per_kg": mg_per_kg, "lot": body.lot, "expiry": body.expiry}
    facts |= {"medication": body.medication, "overridden": codes}
    await record(unit, after, "dose", at, **facts)
    return after


def _override(unit: UnitOfWork, session: Document, found: list[Reason], body: schemas.Dose) -> None:
    """A prescriber may go on against what is overridable, with a reason; nobody against what is absolute."""
    codes = [reason.code for reason in found if reason.kind != "note"]
    shown = [{"code": reason.code, "class": reason.kind, "detail": reason.detail} for reason in found]
    if body.override_reason is None or any(reason.kind == "absolute" for reason in found):
        raise Conflict("The dose gate is closed.", reasons=shown)
    if unit.scope.actor.role not in OVERRIDERS:
        raise Forbidden("Only a prescriber may override the dose gate.")
    event = DoseGateOverridden(
        patient_id=session["patient_id"],
        session_id=session["_id"],
        reasons=codes,
        at=unit.clock.clinical_now(),
        by_role=unit.scope.actor.role,
        reason_code=body.override_reason,
    )
    emit(unit, event, aggregate=f"session/{session['_id']}", version=session["version"] + 1)


async def note_refusal(mongo: Mongo, scope: Scope, session_id: str, codes: list[str]) -> None:
    """A closed gate is told and kept, though the dose was refused: a transaction of its own after the refusal."""

    async def work(unit: UnitOfWork) -> None:
        session = await unit.collection(SESSIONS).get(session_id)
        entry = await record(unit, session, "gate_refused", reasons=codes)
        event = DoseGateRefused(
            patient_id=session["patient_id"], session_id=session_id, reasons=codes, at=entry["recorded_at"]
        )
        emit(unit, event, aggregate=f"entry/{entry['_id']}", version=1)

    await mongo.run(scope, work)


def _tell_dose(
    unit: UnitOfWork, deps: Deps, after: Document, body: schemas.Dose, mg_per_kg: float, *, first: bool
) -> None:
    aggregate, version = f"session/{after['_id']}", after["version"]
    about = {"patient_id": after["patient_id"], "session_id": after["_id"]}
    at = after["doses"][-1]["at"]
    if first:
        started = SessionStarted(**about, appointment_id=after["appointment_id"], started_at=at)
        emit(unit, started, aggregate=aggregate, version=version)
    dose = DoseAdministered(
        **about,
        medication=body.medication,
        route=deps.protocol(after).route,
        amount=body.amount_mg,
        unit="mg",
        mg_per_kg=mg_per_kg,
        lot=body.lot,
        expiry=body.expiry,
        at=at,
    )
    emit(unit, dose, aggregate=aggregate, version=version)


async def change_infusion(
    unit: UnitOfWork, session_id: str, verb: Literal["pause", "resume", "stop", "rate"], body: schemas.Infusion
) -> Document:
    """Accepted in every state; where there is no running dose it is noted as out of order. Raises NotFound."""
    session = await load(unit, session_id, f"dose_{verb}")
    running = session["state"] == "dosing"
    now = unit.clock.clinical_now()
    after = model.stopped(session, now) if verb == "stop" else session
    if after is not session:
        await unit.collection(SESSIONS).replace_versioned(after)
    kind = {"pause": "dose_paused", "resume": "dose_resumed", "stop": "dose_stopped", "rate": "dose_rate"}[verb]
    entry = await record(
        unit, session, kind, body.occurred_at, rate_mg_per_h=body.rate_mg_per_h, out_of_order=not running or None
    )
    event = {"pause": DosePaused, "resume": DoseResumed, "stop": DoseStopped}.get(verb)
    if event is not None:
        told = event(patient_id=session["patient_id"], session_id=session_id, at=entry["occurred_at"])
        emit(unit, told, aggregate=f"entry/{entry['_id']}", version=1)
    return after
