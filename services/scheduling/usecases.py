"""Load, decide, save, emit. Nothing here commits: the edge does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.scheduling import schemas
from services.scheduling.slots import slots, starts
from services.scheduling.store import APPOINTMENTS, CLAIMS, PLANS, RESOURCES
from shared.errors import Conflict, FieldError, Invalid
from shared.events.intake import TreatmentPlanActivated
from shared.events.monitoring import SessionCompleted
from shared.events.scheduling import AppointmentBooked, CourseHeld, ReminderDue, ResourceRef
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import set_timer
from shared.protocols import Protocol

MAX_LENGTH = timedelta(hours=8)


class Integration(Protocol):
    minutes: int
    earliest_hours_after: int
    latest_hours_after: int


class Reminder(Protocol):
    stage: str
    hours_before: float


class VisitProtocol(Protocol):
    """protocols/visits.yaml."""

    version: str
    time_zone: str
    integration: Integration
    reminders: Sequence[Reminder]


@dataclass(frozen=True)
class Deps:
    protocol: VisitProtocol


async def add_resource(unit: UnitOfWork, body: schemas.NewResource) -> Document:
    resource = as_document(new_id(), unit.clock.clinical_now(), kind=body.kind, label=body.label)
    await unit.collection(RESOURCES).insert(resource)
    audit(unit, "resource.add", f"resource/{resource['_id']}")
    return resource


async def book(unit: UnitOfWork, deps: Deps, body: schemas.NewAppointment) -> Document:
    """All or nothing. Raises Invalid for a wrong time or resource, Conflict for what is taken."""
    if not timedelta(0) < body.end - body.start <= MAX_LENGTH:
        raise Invalid(errors=[FieldError("/end", "must be after start and at most 8 hours later", "length_invalid")])
    known = {row["_id"]: row for row in await unit.collection(RESOURCES).find({"_id": {"$in": body.resources}})}
    missing = [number for number, name in enumerate(body.resources) if name not in known]
    if missing:
        raise Invalid(errors=[FieldError(f"/resources/{n}", "is not a resource here", "unknown") for n in missing])
    fields = body.model_dump(exclude={"resources"})
    return await _book(unit, deps, fields, [known[name] for name in body.resources])


async def _book(unit: UnitOfWork, deps: Deps, fields: Document, resources: list[Document]) -> Document:
    identifier, now = new_id(), unit.clock.clinical_now()
    await _claim(unit, identifier, resources, fields["start"], fields["end"])
    plan = await unit.collection(PLANS).find_one({"_id": fields["plan_id"]}) if fields["plan_id"] else None
    numbered = plan is not None and fields["kind"] == "dosing"
    number = await _next_number(unit, plan) if plan and numbered else None
    appointment = as_document(
        identifier,
        now,
        state="booked",
        sequence_no=number,
        of=plan["session_count"] if plan and numbered else None,
        resources=[{"id": row["_id"], "kind": row["kind"], "label": row["label"]} for row in resources],
        **{"follows_session": None, **fields},
    )
    await unit.collection(APPOINTMENTS).insert(appointment)
    emit(unit, _booked(appointment, deps), aggregate=f"appointment/{identifier}", version=1)
    await _set_reminders(unit, deps, appointment)
    audit(unit, "appointment.book", f"appointment/{identifier}", patient_id=appointment["patient_id"])
    return appointment


async def _next_number(unit: UnitOfWork, plan: Document) -> int:
    """Numbers the course in the plan's own document, so that two bookings at once cannot get the same one."""
    number = int(plan["booked"]) + 1
    await unit.collection(PLANS).update({"_id": plan["_id"]}, {"$set": {"booked": number}})
    return number


async def _claim(
    unit: UnitOfWork, appointment_id: str, resources: list[Document], start: datetime, end: datetime
) -> None:
    wanted = {f"{row['_id']}:{slot}": row for row in resources for slot in slots(start, end)}
    taken = await unit.collection(CLAIMS).find({"_id": {"$in": list(wanted)}})
    if taken:
        names = sorted({wanted[row["_id"]]["_id"] for row in taken})
        reasons = [{"code": "resource_taken", "detail": "The resource is booked at that time.", "id": n} for n in names]
        raise Conflict("A needed resource is not free.", reasons=reasons)
    await unit.collection(CLAIMS).insert_many([{"_id": name, "appointment_id": appointment_id} for name in wanted])


def _booked(appointment: Document, deps: Deps) -> AppointmentBooked:
    names = ("patient_id", "kind", "mode", "plan_id", "sequence_no", "of", "start", "end")
    return AppointmentBooked(
        appointment_id=appointment["_id"],
        time_zone=deps.protocol.time_zone,
        resources=[ResourceRef(**row) for row in appointment["resources"]],
        **{name: appointment[name] for name in names},
    )


async def _set_reminders(unit: UnitOfWork, deps: Deps, appointment: Document) -> None:
    if appointment["kind"] != "dosing":
        return
    now = unit.clock.clinical_now()
    for reminder in deps.protocol.reminders:
        due = appointment["start"] - timedelta(hours=reminder.hours_before)
        payload = {"appointment_id": appointment["_id"], "stage": reminder.stage}
        key = f"reminder:{appointment['_id']}:{reminder.stage}"
        # What would be due already is sent at once, while it can still be of use.
        await set_timer(unit, "reminder", key, max(due, now), payload, latest_at=appointment["start"])


async def remind(unit: UnitOfWork, appointment_id: str, stage: str) -> None:
    appointment = await unit.collection(APPOINTMENTS).get(appointment_id)
    if appointment["state"] != "booked":
        return
    event = ReminderDue(
        patient_id=appointment["patient_id"], appointment_id=appointment_id, stage=stage, start=appointment["start"]
    )
    emit(unit, event, aggregate=f"appointment/{appointment_id}", version=appointment["version"])


async def know_plan(unit: UnitOfWork, event: TreatmentPlanActivated) -> None:
    """The course is open to book. Applied if newer; what is booked already stays counted."""
    plans = unit.collection(PLANS)
    known = await plans.find_one({"_id": event.plan_id})
    if known and known["version"] >= event.version:
        return
    await plans.put(
        {
            "_id": event.plan_id,
            "version": event.version,
            "patient_id": event.patient_id,
            "session_count": event.session_count,
            "min_gap_hours": event.min_gap_hours,
            "integration_after": event.integration_after,
            "booked": known["booked"] if known else 0,
        }
    )


async def note_state(unit: UnitOfWork, appointment_id: str | None, state: schemas.State) -> bool:
    """What monitoring says of the visit; a state never goes back."""
    order = ("booked", "arrived", "in_progress", "completed")
    appointment = await unit.collection(APPOINTMENTS).find_one({"_id": appointment_id})
    if appointment is None or order.index(appointment["state"]) >= order.index(state):
        return False
    after = {**appointment, "state": state, "version": appointment["version"] + 1}
    await unit.collection(APPOINTMENTS).replace_versioned(after)
    return True


async def book_integration(unit: UnitOfWork, deps: Deps, event: SessionCompleted) -> str:
    """First free slot in the protocol's window; none free: the course is held and people are told."""
    plan = await unit.collection(PLANS).find_one({"_id": event.plan_id})
    if plan is None or not plan["integration_after"]:
        return "not_wanted"
    if await unit.collection(APPOINTMENTS).find_one({"follows_session": event.session_id}):
        return "booked_already"
    rule, now = deps.protocol.integration, unit.clock.clinical_now()
    earliest, latest = (now + timedelta(hours=h) for h in (rule.earliest_hours_after, rule.latest_hours_after))
    rooms = await unit.collection(RESOURCES).find({"kind": "room"})
    for start in starts(earliest, latest, rule.minutes):
        end = start + timedelta(minutes=rule.minutes)
        for room in rooms:
            taken = {"_id": {"$in": [f"{room['_id']}:{slot}" for slot in slots(start, end)]}}
            if await unit.collection(CLAIMS).count(taken) == 0:
                fields: Document = {"kind": "integration", "mode": "in_person", "follows_session": event.session_id}
                fields |= {"patient_id": event.patient_id, "plan_id": event.plan_id, "start": start, "end": end}
                await _book(unit, deps, fields, [room])
                return "booked"
    held = CourseHeld(patient_id=event.patient_id or "", plan_id=plan["_id"], reason_code="no_slot")
    emit(unit, held, aggregate=f"course/{plan['_id']}", version=plan["version"])
    return "no_slot"
