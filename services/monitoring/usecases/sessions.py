"""A session from its booking to the baseline, and its assignment."""

import zlib

from services.monitoring import model, schemas
from services.monitoring.store import SESSIONS
from services.monitoring.usecases import devices, projections
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import happened_at, record
from services.monitoring.usecases.protocols import pin, subject_of
from shared.errors import Conflict
from shared.events.monitoring import SessionCheckedIn, SessionReassigned, StaffRef
from shared.events.scheduling import AppointmentBooked
from shared.ids import derived_id, new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document

SLOTS = 8


async def new_session(unit: UnitOfWork, deps: Deps, identifier: str, route: str | None, **fields: object) -> Document:
    pinned = await pin(unit, deps, subject_of(str(fields.get("kind", "dosing")), route))
    empty: Document = {
        "kind": "dosing",
        "group_id": None,
        "location_id": None,
        "route_by_plan": False,
        "planned_start": None,
        "planned_sequence": "",
        "state": "scheduled",
        "watched": False,
        "slot": zlib.crc32(identifier.encode()) % SLOTS,
        "room": None,
        "chair": None,
        "monitor": None,
        "monitor_since": None,
        "pump": None,
        "pump_since": None,
        "responsible_staff": [],
        "label_sealed": None,
        "checked_in_at": None,
        "readiness": None,
        "baseline": None,
        "baseline_at": None,
        "gate_override": None,
        "gate_open_until": None,
        "prescriber_on_site": None,
        "infusion": None,
        "intention_sealed": None,
        "doses": [],
        "devices": {},
        "aborted": False,
        "started_at": None,
        "ended_at": None,
        **pinned,
        "appointment_id": None,
        "plan_id": None,
        "sequence_no": None,
    }
    return as_document(identifier, unit.clock.clinical_now(), **(empty | fields))


async def open_unscheduled(unit: UnitOfWork, deps: Deps, body: schemas.NewSession) -> Document:
    """Works without any event having arrived; of the plan's route where none is named.

    A plan that is not known yet is looked for again at check-in and at the baseline. Until it is known the default
    route's protocol watches, and the gate says `plan_unknown`; one that becomes known later is `plan_other_route` until
    the baseline is taken again.
    """
    told = {name: getattr(body, name) for name in ("kind", "patient_id", "plan_id", "location_id")}
    told["route_by_plan"] = body.route is None and body.kind == "dosing" and body.plan_id is not None
    route = await projections.planned_route(unit, body.plan_id) if told["route_by_plan"] else body.route
    session = await new_session(unit, deps, new_id(), route, **told)
    return await insert(unit, session)


async def insert(unit: UnitOfWork, session: Document) -> Document:
    """Opened by a person."""
    await unit.collection(SESSIONS).insert(session)
    audit(unit, "session.open", f"session/{session['_id']}", patient_id=session["patient_id"])
    return session


async def schedule(unit: UnitOfWork, deps: Deps, event: AppointmentBooked, sequence: str, route: str | None) -> bool:
    """An appointment becomes a session, once, and moves it until it begins; False when what is known is newer.

    A repeat finds the session by its appointment. Voided, and told anew since: the visit gets another. A booked group
    visit is a session of its own too: an appointment has one patient, and nothing in the event says whose visits are of
    one group (ADR 12).
    """
    planned = {"planned_start": event.start, "planned_sequence": sequence, "location_id": event.location_id}
    known = await _of_appointment(unit, event)
    if known is None:
        names = ("kind", "patient_id", "appointment_id", "plan_id", "sequence_no")
        told = {name: getattr(event, name) for name in names} | {"route_by_plan": True}
        identifier = derived_id("session", event.appointment_id)
        await unit.collection(SESSIONS).insert(await new_session(unit, deps, identifier, route, **told, **planned))
        return True
    before = known.get("planned_sequence", "")
    anew = known["state"] == "voided" and before < sequence
    if not anew and (known["state"] != "scheduled" or before > sequence):
        return False
    changed = {"appointment_id": None} if anew else planned
    after = model.changed(known, unit.clock.clinical_now(), **changed)
    await unit.collection(SESSIONS).replace_versioned(after)
    if anew:
        await in_place_of(unit, deps, known, **planned)
    return True


async def _of_appointment(unit: UnitOfWork, event: AppointmentBooked) -> Document | None:
    return await unit.collection(SESSIONS).find_one({"appointment_id": event.appointment_id})


async def in_place_of(unit: UnitOfWork, deps: Deps, voided: Document, **planned: object) -> str:
    """Another session for a visit that is booked still, with nothing of whoever sat there by mistake; its id.

    The voided one has let go of the appointment.
    """
    names = ("kind", "patient_id", "appointment_id", "plan_id", "sequence_no", "location_id", "route_by_plan")
    kept = {name: voided[name] for name in (*names, "planned_start", "planned_sequence") if name in voided}
    identifier, route = derived_id("session", voided["_id"]), await projections.planned_route(unit, voided["plan_id"])
    await unit.collection(SESSIONS).insert(await new_session(unit, deps, identifier, route, **(kept | planned)))
    return identifier


async def unschedule(unit: UnitOfWork, event: AppointmentBooked, sequence: str, reason_code: str | None) -> bool:
    """A visit that will not take place voids a session that has not begun; False when there is none to void."""
    session = await _of_appointment(unit, event)
    if session is None or session["state"] != "scheduled":
        return False
    now = unit.clock.clinical_now()
    after = model.move(session, "void", now, ended_at=now, planned_sequence=sequence)
    await unit.collection(SESSIONS).replace_versioned(after)
    await record(unit, session, "voided", reason_code=reason_code)
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
    if body.intention:
        session["intention_sealed"] = await deps.vault.encrypt(unit, session["patient_id"], body.intention)
    staff = [person.model_dump() for person in body.responsible_staff]
    fields: Document = {"room": body.room, "chair": body.chair, "responsible_staff": staff, "label_sealed": sealed}
    named = {"monitor": body.monitor, "pump": body.pump}
    fields |= {kind: device or await devices.prepared(unit, session, kind) for kind, device in named.items()}
    fields["checked_in_at"] = happened_at(unit, body.occurred_at)
    fields |= await pin(unit, deps, await _subject(unit, deps, session))  # here it begins
    after = model.move(session, "check_in", now, readiness=_ready(unit, body.readiness), **fields)
    await devices.assign(unit, after, fields)
    await unit.collection(SESSIONS).replace_versioned(after)
    emit(unit, SessionCheckedIn(**_assignment(after)), aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "checked_in", body.occurred_at, room=body.room, chair=body.chair)
    return after


def _ready(unit: UnitOfWork, told: schemas.Readiness | None) -> Document | None:
    if told is None:
        return None
    taken = told.last_intake.model_dump(exclude_none=True) if told.last_intake else {}
    return told.model_dump() | {"last_intake": {kind: happened_at(unit, at) for kind, at in taken.items()}}


async def _subject(unit: UnitOfWork, deps: Deps, session: Document) -> str | None:
    """A visit may have been booked, or opened, before its plan was known; a route that a person named stays."""
    by_plan = session.get("route_by_plan", session["appointment_id"] is not None)
    planned = await projections.planned_route(unit, session["plan_id"]) if by_plan else None
    return subject_of(model.kind_of(session), planned or deps.protocol(session).route)


async def pinned_anew(unit: UnitOfWork, deps: Deps, session: Document) -> Document:
    """What changes where the plan's route became known after check-in; nobody has been dosed yet."""
    subject = await _subject(unit, deps, session)
    return {} if subject == deps.protocol(session).subject else await pin(unit, deps, subject)


def _assignment(session: Document) -> Document:
    names = ("patient_id", "appointment_id", "room", "chair", "protocol_version")
    staff = [StaffRef(**person) for person in session["responsible_staff"]]
    told = {"session_id": session["_id"], "kind": model.kind_of(session), "responsible_staff": staff}
    return {name: session[name] for name in names} | told


async def reassign(unit: UnitOfWork, session_id: str, body: schemas.Assignment) -> Document:
    """Another room, chair, device or nurse until the session ends. Raises NotFound, Conflict."""
    session = await load(unit, session_id, "assign")
    if session["state"] in model.ENDED:
        detail = f"The session is {session['state']}: nobody sits at its chair any more."
        raise Conflict(reasons=[{"code": "state", "detail": detail}])
    named = body.model_dump(exclude={"occurred_at"}, exclude_unset=True)
    given = {name: value for name, value in named.items() if value is not None or name in devices.KINDS}
    after = model.changed(session, unit.clock.clinical_now(), **given)
    await devices.assign(unit, after, given)
    await unit.collection(SESSIONS).replace_versioned(after)
    if after["room"] and after["chair"]:
        event = SessionReassigned(**_assignment(after))
        emit(unit, event, aggregate=f"session/{session_id}", version=after["version"])
    await record(unit, after, "reassigned", body.occurred_at, room=after["room"], chair=after["chair"])
    return after
