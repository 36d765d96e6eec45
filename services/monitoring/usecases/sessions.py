"""A session from its booking to the baseline, and its assignment."""

import zlib

from services.monitoring import model, schemas
from services.monitoring.store import SESSIONS
from services.monitoring.usecases import devices
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import record
from shared.events.monitoring import SessionCheckedIn, SessionReassigned, StaffRef
from shared.events.scheduling import AppointmentBooked, AppointmentCancelled
from shared.ids import derived_id, new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document

SLOTS = 8


def _new(unit: UnitOfWork, deps: Deps, identifier: str, route: str | None, **fields: object) -> Document:
    protocol = deps.protocol_of_route(route)
    empty: Document = {
        "state": "scheduled",
        "watched": False,
        "slot": zlib.crc32(identifier.encode()) % SLOTS,
        "room": None,
        "chair": None,
        "monitor": None,
        "pump": None,
        "responsible_staff": [],
        "label_sealed": None,
        "readiness": None,
        "baseline": None,
        "baseline_at": None,
        "doses": [],
        "devices": {},
        "aborted": False,
        "started_at": None,
        "ended_at": None,
        "protocol_version": protocol.version,
        "appointment_id": None,
        "plan_id": None,
        "sequence_no": None,
    }
    return as_document(identifier, unit.clock.clinical_now(), **(empty | fields))


async def open_unscheduled(unit: UnitOfWork, deps: Deps, body: schemas.NewSession) -> Document:
    """Works without any event having arrived."""
    session = _new(unit, deps, new_id(), body.route, patient_id=body.patient_id, plan_id=body.plan_id)
    await unit.collection(SESSIONS).insert(session)
    audit(unit, "session.open", f"session/{session['_id']}", patient_id=body.patient_id)
    return session


async def schedule(unit: UnitOfWork, deps: Deps, event: AppointmentBooked, route: str | None) -> None:
    """A dosing appointment becomes a session, once; its id is derived, so a repeat finds it."""
    identifier = derived_id("session", event.appointment_id)
    if await unit.collection(SESSIONS).find_one({"_id": identifier}):
        return
    names = ("patient_id", "appointment_id", "plan_id", "sequence_no")
    session = _new(unit, deps, identifier, route, **{name: getattr(event, name) for name in names})
    await unit.collection(SESSIONS).insert(session)


async def unschedule(unit: UnitOfWork, event: AppointmentCancelled) -> bool:
    """A cancelled appointment voids a session that has not begun; False when there is none to void."""
    session = await unit.collection(SESSIONS).find_one({"_id": derived_id("session", event.appointment_id)})
    if session is None or session["state"] != "scheduled":
        return False
    now = unit.clock.clinical_now()
    await unit.collection(SESSIONS).replace_versioned(model.move(session, "void", now, ended_at=now))
    await record(unit, session, "voided", reason_code=event.reason_code)
    return True


async def load(unit: UnitOfWork, session_id: str, action: str) -> Document:
    """The session, with the audit row of the action. Raises NotFound."""
    session = await unit.collection(SESSIONS).get(session_id)
    audit(unit, f"session.{action}", f"session/{session_id}", patient_id=session["patient_id"])
    return session


async def check_in(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.CheckIn) -> Document:
    """Raises NotFound, Conflict."""
    session, now = await load(unit, session_id, "check_in"), unit.clock.clinical_now()
    sealed = await deps.vault.encrypt(unit, session["patient_id"], body.display_label)
    staff = [person.model_dump() for person in body.responsible_staff]
    fields: Document = {"room": body.room, "chair": body.chair, "responsible_staff": staff, "label_sealed": sealed}
    fields |= {"monitor": body.monitor, "pump": body.pump}
    after = model.move(session, "check_in", now, readiness=body.readiness.model_dump(), **fields)
    await devices.assign(unit, after, fields)
    await unit.collection(SESSIONS).replace_versioned(after)
    emit(unit, SessionCheckedIn(**_assignment(after)), aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "checked_in", room=body.room, chair=body.chair)
    return after


def _assignment(session: Document) -> Document:
    names = ("patient_id", "appointment_id", "room", "chair")
    staff = [StaffRef(**person) for person in session["responsible_staff"]]
    return {name: session[name] for name in names} | {"session_id": session["_id"], "responsible_staff": staff}


async def reassign(unit: UnitOfWork, session_id: str, body: schemas.Assignment) -> Document:
    """Another room, chair or nurse during the session. Raises NotFound."""
    session = await load(unit, session_id, "assign")
    given = body.model_dump(exclude_none=True)
    after = model.changed(session, unit.clock.clinical_now(), **given)
    await devices.assign(unit, after, given)
    await unit.collection(SESSIONS).replace_versioned(after)
    if after["room"] and after["chair"]:
        event = SessionReassigned(**_assignment(after))
        emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "reassigned", room=after["room"], chair=after["chair"])
    return after


async def take_baseline(unit: UnitOfWork, session_id: str, body: schemas.Baseline) -> Document:
    """Raises NotFound, Conflict."""
    session, now = await load(unit, session_id, "baseline"), unit.clock.clinical_now()
    after = model.move(session, "baseline", now, baseline=body.model_dump(exclude_none=True), baseline_at=now)
    await unit.collection(SESSIONS).replace_versioned(after)
    await record(unit, after, "baseline", **body.model_dump(exclude_none=True))
    return after
