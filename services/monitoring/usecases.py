"""The session's use cases: load, decide, save, emit. Nothing here commits: the edge does."""

from dataclasses import dataclass

from services.monitoring import model, schemas
from services.monitoring.discharge import Findings, criteria
from services.monitoring.model import SessionProtocol
from services.monitoring.store import ALARMS, PLANS, SESSIONS, VITALS
from shared.errors import Conflict
from shared.events.intake import TreatmentPlanActivated
from shared.events.monitoring import (
    DoseAdministered,
    PatientDischarged,
    SessionCheckedIn,
    SessionCompleted,
    SessionStarted,
    StaffRef,
)
from shared.events.scheduling import AppointmentBooked
from shared.ids import derived_id, new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.vault import Vault

SYSTOLIC = "8480-6"


@dataclass(frozen=True)
class Deps:
    vault: Vault
    protocol: SessionProtocol


def _new(unit: UnitOfWork, deps: Deps, identifier: str, **fields: object) -> Document:
    empty: Document = {
        "state": "scheduled",
        "room": None,
        "chair": None,
        "responsible_staff": [],
        "label": None,
        "readiness": None,
    }
    more: Document = {
        "baseline": None,
        "doses": [],
        "alarm_count": 0,
        "started_at": None,
        "protocol_version": deps.protocol.version,
    }
    links = {"appointment_id": None, "plan_id": None, "sequence_no": None}
    return as_document(identifier, unit.clock.clinical_now(), **(empty | more | links | fields))


async def open_unscheduled(unit: UnitOfWork, deps: Deps, body: schemas.NewSession) -> Document:
    session = _new(unit, deps, new_id(), patient_id=body.patient_id, plan_id=body.plan_id)
    await unit.collection(SESSIONS).insert(session)
    audit(unit, "session.open", f"session/{session['_id']}", patient_id=body.patient_id)
    return session


async def schedule(unit: UnitOfWork, deps: Deps, event: AppointmentBooked) -> None:
    """A dosing appointment becomes a session, once; its id is derived, so a repeat finds it."""
    identifier = derived_id("session", event.appointment_id)
    if await unit.collection(SESSIONS).find_one({"_id": identifier}):
        return
    names = ("patient_id", "appointment_id", "plan_id", "sequence_no")
    session = _new(unit, deps, identifier, **{name: getattr(event, name) for name in names})
    await unit.collection(SESSIONS).insert(session)


async def know_plan(unit: UnitOfWork, event: TreatmentPlanActivated) -> None:
    known = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    if known is None or known["version"] < event.version:
        fields = {"version": event.version, "dose_mg_per_kg": event.dose_mg_per_kg, "route": event.route}
        await unit.collection(PLANS).put({"_id": event.plan_id, "patient_id": event.patient_id, **fields})


async def _load(unit: UnitOfWork, session_id: str, action: str) -> Document:
    session = await unit.collection(SESSIONS).get(session_id)
    audit(unit, f"session.{action}", f"session/{session_id}", patient_id=session["patient_id"])
    return session


async def check_in(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.CheckIn) -> Document:
    """Raises NotFound, Conflict."""
    session = await _load(unit, session_id, "check_in")
    label = await deps.vault.encrypt(unit, session["patient_id"], body.display_label)
    staff = [person.model_dump() for person in body.responsible_staff]
    fields = {"room": body.room, "chair": body.chair, "label": label, "responsible_staff": staff}
    now = unit.clock.clinical_now()
    after = model.move(session, "check_in", now, readiness=body.readiness.model_dump(), started_at=now, **fields)
    await unit.collection(SESSIONS).replace_versioned(after)
    event = SessionCheckedIn(
        session_id=session_id,
        responsible_staff=[StaffRef(**person) for person in staff],
        **{name: after[name] for name in ("patient_id", "appointment_id", "room", "chair")},
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    return after


async def take_baseline(unit: UnitOfWork, session_id: str, body: schemas.Baseline) -> Document:
    """Raises NotFound, Conflict."""
    session = await _load(unit, session_id, "baseline")
    after = model.move(session, "baseline", unit.clock.clinical_now(), baseline=body.model_dump())
    await unit.collection(SESSIONS).replace_versioned(after)
    return after


async def give_dose(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Dose) -> Document:
    """The gate is judged at the dose itself. Raises NotFound, Conflict with every reason."""
    session, now = await _load(unit, session_id, "dose"), unit.clock.clinical_now()
    first = session["state"] == "baseline"
    after = model.move(session, "dose", now)
    mg_per_kg = round(body.amount_mg / session["baseline"]["weight_kg"], 3)
    plan = await unit.collection(PLANS).find_one({"_id": session["plan_id"]})
    reasons = model.gate_reasons(session, plan, mg_per_kg, deps.protocol)
    if reasons:
        raise Conflict("The dose gate is closed.", reasons=reasons)
    after["doses"] = [*session["doses"], {**body.model_dump(), "mg_per_kg": mg_per_kg, "at": now}]
    await unit.collection(SESSIONS).replace_versioned(after)
    dose = DoseAdministered(
        patient_id=session["patient_id"],
        session_id=session_id,
        medication=body.medication,
        route=deps.protocol.route,
        amount=body.amount_mg,
        unit="mg",
        mg_per_kg=mg_per_kg,
        lot=body.lot,
        expiry=body.expiry,
        at=now,
    )
    aggregate = f"session/{session_id}"
    if first:
        ids = {name: session[name] for name in ("patient_id", "appointment_id")}
        emit(
            unit,
            SessionStarted(session_id=session_id, started_at=now, **ids),
            aggregate=aggregate,
            version=after["version"],
        )
    emit(unit, dose, aggregate=aggregate, version=after["version"])
    return after


async def discharge(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Discharge) -> Document:
    """Raises NotFound, Conflict with every criterion that is not met."""
    session, now = await _load(unit, session_id, "discharge"), unit.clock.clinical_now()
    after = model.move(session, "discharge", now)
    found = await _findings(unit, session, body)
    checked = criteria(deps.protocol.discharge, found)
    unmet = [item.criterion for item in checked if not item.met]
    if unmet:
        reasons = [{"code": name, "detail": f"The criterion {name} is not met."} for name in unmet]
        raise Conflict("The patient may not leave yet; /leave records every other way out.", reasons=reasons)
    await unit.collection(SESSIONS).replace_versioned(after)
    event = PatientDischarged(
        patient_id=session["patient_id"],
        session_id=session_id,
        at=now,
        disposition="escort",
        minutes_from_last_dose=found.minutes,
        criteria=checked,
        escort_confirmed=True,
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    return after


async def _findings(unit: UnitOfWork, session: Document, body: schemas.Discharge) -> Findings:
    latest = await unit.collection(VITALS).find(
        {"session_id": session["_id"], "sign": SYSTOLIC, "quarantined": None}, sort=[("taken_at", -1)], limit=1
    )
    return Findings(
        last_dose_at=session["doses"][-1]["at"],
        now=unit.clock.clinical_now(),
        baseline_systolic=session["baseline"]["systolic"],
        systolic=latest[0]["value"] if latest else None,
        open_alarms=await unit.collection(ALARMS).count({"session_id": session["_id"], "open": True}),
        **body.model_dump(),
    )


async def complete(unit: UnitOfWork, session_id: str) -> Document:
    """Raises NotFound, Conflict."""
    session, now = await _load(unit, session_id, "complete"), unit.clock.clinical_now()
    after = model.move(session, "complete", now)
    await unit.collection(SESSIONS).replace_versioned(after)
    event = SessionCompleted(
        session_id=session_id,
        duration_min=int((now - session["started_at"]).total_seconds() // 60),
        dose_total_mg=sum(dose["amount_mg"] for dose in session["doses"]),
        alarm_count=session["alarm_count"],
        outcome_code="completed",
        **{name: session[name] for name in ("patient_id", "appointment_id", "plan_id", "sequence_no")},
    )
    emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    return after
