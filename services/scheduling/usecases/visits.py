"""What monitoring says of a visit: arrived or not after all, begun, ended, aborted; and the integration that follows a session."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.scheduling import model
from services.scheduling.slots import starts
from services.scheduling.store import APPOINTMENTS
from services.scheduling.usecases import claims, courses, patients
from services.scheduling.usecases.appointments import confirm_as, place_visit
from services.scheduling.usecases.availability import free, of_kind
from services.scheduling.usecases.deps import Deps, zone_of
from shared.persistence.mongo import Document, UnitOfWork


@dataclass(frozen=True)
class Session:
    """A session that ended, as its event says."""

    session_id: str
    patient_id: str
    appointment_id: str | None
    plan_id: str | None


async def note(unit: UnitOfWork, appointment_id: str | None, verb: str) -> bool:
    """False for an unscheduled session and for what is older than what is known."""
    row = await unit.collection(APPOINTMENTS).find_one({"_id": appointment_id}) if appointment_id else None
    if row is None or not model.allows(row, verb):
        return False
    after = model.happened(row, verb, unit.clock.clinical_now())
    await unit.collection(APPOINTMENTS).replace_versioned(after)
    return True


async def note_dose(unit: UnitOfWork, patient_id: str, at: datetime) -> None:
    """The minimum gap counts from doses that were really given."""
    patient = await patients.lock(unit, patient_id)
    if patient["last_dose_at"] is None or patient["last_dose_at"] < at:
        await patients.save(unit, patient, last_dose_at=at)


async def aborted(unit: UnitOfWork, deps: Deps, session: Session) -> str:
    """The course waits for a review; the integration comes all the same."""
    _, plan_id = await _visit(unit, session)
    if plan_id:
        course = await courses.find_or_stub(unit, plan_id, session.patient_id)
        await courses.hold(unit, course, "aborted", session.session_id)
    return await ended(unit, deps, session, "abort")


async def ended(unit: UnitOfWork, deps: Deps, session: Session, verb: str) -> str:
    await note(unit, session.appointment_id, verb)
    row, plan_id = await _visit(unit, session)
    return await _integrate(unit, deps, session, row, plan_id)


async def catch_up(unit: UnitOfWork, deps: Deps, course: Document) -> None:
    """The plan has become known: sessions that ended before get their integration."""
    waiting = [Session(**facts) for facts in course["waiting"]]
    if waiting:
        await courses.save(unit, course, waiting=[])
    for session in waiting:
        row, plan_id = await _visit(unit, session)
        await _integrate(unit, deps, session, row, plan_id)


async def _visit(unit: UnitOfWork, session: Session) -> tuple[Document | None, str | None]:
    """The appointment and the plan of a session; either may be missing."""
    row = None
    if session.appointment_id:
        row = await unit.collection(APPOINTMENTS).find_one({"_id": session.appointment_id})
    return row, session.plan_id or (row or {}).get("plan_id")


async def _integrate(unit: UnitOfWork, deps: Deps, session: Session, row: Document | None, plan_id: str | None) -> str:
    """Once per session: confirms what was reserved with the course, else books the first free slot of the window."""
    if plan_id is None or (row is not None and row["kind"] != "dosing"):
        return "not_wanted"
    course = await courses.find_or_stub(unit, plan_id, session.patient_id)
    if not course["known"]:
        facts = {**vars(session), "plan_id": plan_id}
        if facts not in course["waiting"]:
            await courses.save(unit, course, waiting=[*course["waiting"], facts])
        return "waits_for_plan"
    appointments = unit.collection(APPOINTMENTS)
    if not course["integration_after"] or await appointments.find_one({"follows_session": session.session_id}):
        return "not_wanted"
    reserved = await _reserved(unit, session)
    if reserved is None:
        return await _book_first_free(unit, deps, session, course)
    if reserved["state"] == "booked":
        await confirm_as(unit, reserved, follows_session=session.session_id)
    else:
        now = unit.clock.clinical_now()
        await appointments.replace_versioned(model.changed(reserved, now, follows_session=session.session_id))
    return "confirmed"


async def _reserved(unit: UnitOfWork, session: Session) -> Document | None:
    if session.appointment_id is None:
        return None
    query = {"follows_appointment": session.appointment_id, "state": {"$in": list(model.LIVE)}}
    return await unit.collection(APPOINTMENTS).find_one({**query, "start": {"$gt": unit.clock.clinical_now()}})


async def _book_first_free(unit: UnitOfWork, deps: Deps, session: Session, course: Document) -> str:
    """None free: the course is held and people are told."""
    rule, now, zone = deps.protocol.integration, unit.clock.clinical_now(), await zone_of(unit, deps)
    earliest, latest = (now + timedelta(hours=h) for h in (rule.earliest_hours_after, rule.latest_hours_after))
    patient = await claims.bookable(unit, claims.patient_row(unit, session.patient_id), earliest, latest)
    rooms = [await claims.bookable(unit, row, earliest, latest) for row in await of_kind(unit, "room")]
    grid = starts(earliest, latest, rule.minutes, deps.protocol.step_minutes)
    found = next(free([rooms, [patient]], grid, rule.minutes, zone), None)
    if found is None:
        await courses.hold(unit, course, "no_slot", session.session_id)
        return "no_slot"
    start, chosen = found
    fields: Document = {"kind": "integration", "mode": "in_person", "plan_id": course["_id"]}
    fields |= {"follows_session": session.session_id, "follows_appointment": session.appointment_id}
    fields |= {"patient_id": session.patient_id, "start": start, "end": start + timedelta(minutes=rule.minutes)}
    await place_visit(unit, deps, fields, [chosen[0].row])
    return "booked"
