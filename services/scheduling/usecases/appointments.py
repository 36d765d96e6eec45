"""One visit: booked, confirmed, moved, cancelled, missed, made ready. Claims, timers and events change together."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.scheduling import model, schemas
from services.scheduling.store import APPOINTMENTS
from services.scheduling.usecases import claims, courses, holds
from services.scheduling.usecases.deps import Deps, zone_of
from shared.errors import VersionConflict
from shared.events.scheduling import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentConfirmed,
    AppointmentNoShow,
    AppointmentRescheduled,
    ReadinessRecorded,
    ReminderDue,
)
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer


async def book(unit: UnitOfWork, deps: Deps, body: schemas.NewAppointment) -> Document:
    """All or nothing. Raises Invalid for a wrong time or resource, Conflict for what is taken, closed or held."""
    claims.check_times(body.start, body.end, unit.clock.clinical_now())
    resources = await claims.resources_named(unit, body.resources)
    if body.hold_id:
        await holds.take_over(unit, body.hold_id)
    fields = body.model_dump(exclude={"resources", "hold_id"})
    if body.kind == "dosing":
        fields |= await _number(unit, deps, body)
    elif body.plan_id:
        courses.check_owner(await courses.find(unit, body.plan_id), body.patient_id)
    row = await place_visit(unit, deps, fields, resources)
    if body.kind == "integration" and (course := await courses.find(unit, body.plan_id)):
        await courses.release(unit, course, "no_slot")
    return row


async def _number(unit: UnitOfWork, deps: Deps, body: schemas.NewAppointment) -> Document:
    course = await courses.admit_dosing(unit, deps, body.patient_id, body.plan_id, body.start)
    if course is None:
        return {}
    numbers = await courses.take_numbers(unit, course)
    if not numbers:
        raise courses.full()
    return {"sequence_no": numbers[0], "of": course["session_count"]}


async def place_visit(unit: UnitOfWork, deps: Deps, fields: Document, resources: Sequence[Document]) -> Document:
    """Claims and writes one appointment; `fields` has patient, kind, mode, plan, times. Raises Invalid, Conflict."""
    identifier, now, zone = new_id(), unit.clock.clinical_now(), await zone_of(unit, deps)
    shown = _place(resources)
    rows = [*resources, claims.patient_row(unit, fields["patient_id"])]
    await claims.claim(unit, f"appointment/{identifier}", rows, fields["start"], fields["end"], zone)
    blank: Document = {"sequence_no": None, "of": None, "follows_session": None, "follows_appointment": None}
    blank |= {"reason_code": None, "readiness": None, "state": "booked", "time_zone": zone.key}
    appointment = as_document(identifier, now, **{**blank, **fields, **shown})
    await unit.collection(APPOINTMENTS).insert(appointment)
    _tell(unit, AppointmentBooked, appointment, "book")
    await _set_reminders(unit, deps, appointment)
    return appointment


def _place(resources: Sequence[Document]) -> Document:
    shown = [
        {name: row[key] for name, key in (("id", "_id"), ("kind", "kind"), ("label", "label"))} for row in resources
    ]
    return {"resources": shown, "location_id": claims.location_of(resources)}


def _tell(unit: UnitOfWork, kind: type[AppointmentBooked], row: Document, verb: str, **fields: object) -> None:
    aggregate = f"appointment/{row['_id']}"
    emit(unit, model.told(kind, row, **fields), aggregate=aggregate, version=row["version"])
    audit(unit, f"appointment.{verb}", aggregate, patient_id=row["patient_id"])


async def load(unit: UnitOfWork, appointment_id: str, expected: int) -> Document:
    """Raises NotFound, VersionConflict."""
    row = await unit.collection(APPOINTMENTS).get(appointment_id)
    if row["version"] != expected:
        raise VersionConflict
    return row


async def confirm(unit: UnitOfWork, row: Document) -> Document:
    """Raises Conflict; once more changes nothing."""
    if row["state"] == "confirmed":
        return row
    return await confirm_as(unit, row)


async def confirm_as(unit: UnitOfWork, row: Document, **fields: object) -> Document:
    after = model.moved(row, "confirm", unit.clock.clinical_now(), **fields)
    await unit.collection(APPOINTMENTS).replace_versioned(after)
    _tell(unit, AppointmentConfirmed, after, "confirm")
    return after


async def reschedule(unit: UnitOfWork, deps: Deps, row: Document, body: schemas.Reschedule) -> Document:
    """The old place is free when the new one is taken. Raises Invalid, Conflict."""
    now, zone = unit.clock.clinical_now(), await zone_of(unit, deps)
    after = model.moved(row, "reschedule", now, start=body.start, end=body.end, readiness=None)
    claims.check_times(body.start, body.end, now)
    resources = await claims.resources_named(unit, body.resources or [item["id"] for item in row["resources"]])
    if row["kind"] == "dosing":
        await courses.admit_dosing(unit, deps, row["patient_id"], row["plan_id"], body.start, moving=row["_id"])
    after |= _place(resources)
    owner = f"appointment/{row['_id']}"
    await claims.release(unit, owner)
    rows = [*resources, claims.patient_row(unit, row["patient_id"])]
    await claims.claim(unit, owner, rows, body.start, body.end, zone)
    await unit.collection(APPOINTMENTS).replace_versioned(after)
    _tell(unit, AppointmentRescheduled, after, "reschedule")
    if row["readiness"]:
        # What was asked for the old time says nothing about the new one.
        _tell_readiness(unit, after)
    await _set_reminders(unit, deps, after)
    await _follow(unit, deps, after)
    return after


async def cancel(unit: UnitOfWork, deps: Deps, row: Document, reason_code: str) -> Document:
    """Frees the place and its reminders, and the integration that was reserved after it. Raises Conflict."""
    after = model.moved(row, "cancel", unit.clock.clinical_now(), reason_code=reason_code)
    await _leave_book(unit, deps, after)
    _tell(unit, AppointmentCancelled, after, "cancel", reason_code=reason_code)
    for integration in await _reserved(unit, row):
        await cancel(unit, deps, integration, "session_changed")
    return after


async def cancel_dosing(unit: UnitOfWork, deps: Deps, query: Mapping[str, object], reason_code: str) -> None:
    """Every dosing session ahead that matches."""
    ahead = {"kind": "dosing", "state": {"$in": list(model.LIVE)}, "start": {"$gt": unit.clock.clinical_now()}}
    for row in await unit.collection(APPOINTMENTS).find({**ahead, **query}):
        await cancel(unit, deps, row, reason_code)


async def no_show(unit: UnitOfWork, deps: Deps, row: Document) -> Document:
    """Raises Conflict before the appointment has begun."""
    after = model.no_show(row, unit.clock.clinical_now())
    await _leave_book(unit, deps, after)
    _tell(unit, AppointmentNoShow, after, "no_show")
    for integration in await _reserved(unit, row):
        await cancel(unit, deps, integration, "session_changed")
    return after


async def _leave_book(unit: UnitOfWork, deps: Deps, after: Document) -> None:
    await unit.collection(APPOINTMENTS).replace_versioned(after)
    await claims.release(unit, f"appointment/{after['_id']}")
    for reminder in deps.protocol.reminders:
        await cancel_timer(unit, _timer(after, reminder.stage))


async def _reserved(unit: UnitOfWork, row: Document) -> list[Document]:
    query = {"follows_appointment": row["_id"], "state": {"$in": list(model.LIVE)}}
    return await unit.collection(APPOINTMENTS).find(query)


async def _follow(unit: UnitOfWork, deps: Deps, session: Document) -> None:
    """An integration that no longer fits its session is given up: the completed session books another."""
    rule = deps.protocol.integration
    earliest, latest = (
        session["end"] + timedelta(hours=h) for h in (rule.earliest_hours_after, rule.latest_hours_after)
    )
    for integration in await _reserved(unit, session):
        if not (earliest <= integration["start"] and integration["end"] <= latest):
            await cancel(unit, deps, integration, "session_changed")


async def record_readiness(unit: UnitOfWork, deps: Deps, row: Document, body: schemas.NewReadiness) -> Document:
    """Raises Conflict once the session has begun."""
    answers: dict[str, bool] = {check.check: check.ok for check in body.checks}
    required, by_role = deps.protocol.readiness.get(row["kind"], ()), unit.scope.actor.role
    after = model.with_checks(row, answers, required, by_role, unit.clock.clinical_now())
    await unit.collection(APPOINTMENTS).replace_versioned(after)
    _tell_readiness(unit, after)
    audit(unit, "appointment.readiness", f"appointment/{row['_id']}", patient_id=row["patient_id"])
    return after


def _tell_readiness(unit: UnitOfWork, row: Document) -> None:
    ready = bool(row["readiness"] and row["readiness"]["ready"])
    event = ReadinessRecorded(
        patient_id=row["patient_id"], appointment_id=row["_id"], ready=ready, checks=model.checks_of(row)
    )
    emit(unit, event, aggregate=f"appointment/{row['_id']}", version=row["version"])


# Reminders


def _timer(appointment: Document, stage: str) -> str:
    return f"reminder:{appointment['_id']}:{stage}"


async def _set_reminders(unit: UnitOfWork, deps: Deps, appointment: Document) -> None:
    if appointment["kind"] != "dosing":
        return
    now = unit.clock.clinical_now()
    for reminder in deps.protocol.reminders:
        due = appointment["start"] - timedelta(hours=reminder.hours_before)
        payload = {"appointment_id": appointment["_id"], "stage": reminder.stage}
        # What would be due already is sent at once, while it can still be of use.
        key = _timer(appointment, reminder.stage)
        await set_timer(unit, "reminder", key, max(due, now), payload, latest_at=appointment["start"])


async def remind(unit: UnitOfWork, deps: Deps, appointment_id: str, stage: str) -> None:
    """A reminder changes nothing of its appointment; as an aggregate of its own it has no other event's sequence."""
    row = await unit.collection(APPOINTMENTS).get(appointment_id)
    if row["state"] not in model.LIVE:
        return
    missing = model.missing(row, deps.protocol.readiness.get(row["kind"], ()))
    event = ReminderDue(
        patient_id=row["patient_id"],
        appointment_id=appointment_id,
        stage=stage,
        start=row["start"],
        missing_checks=missing,
    )
    emit(unit, event, aggregate=f"reminder/{appointment_id}:{stage}", version=row["version"])
