"""A whole course at once, all or nothing: every session that is not booked yet, and its integration where it is wanted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.scheduling import schemas
from services.scheduling.cadence import candidates, gap_kept, wanted_starts
from services.scheduling.slots import Bookable, place, starts, take
from services.scheduling.usecases import claims, courses, patients
from services.scheduling.usecases.appointments import place_visit
from services.scheduling.usecases.availability import free
from services.scheduling.usecases.deps import Deps, zone_of
from shared.errors import Conflict, FieldError, Invalid
from shared.events.scheduling import CourseBooked
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork


@dataclass(frozen=True)
class _Room:
    """What may be booked while this course is placed; shared by all its sessions, so that they see each other."""

    session: Sequence[Bookable]
    integration: Sequence[Bookable]
    patient: Bookable
    zone: ZoneInfo
    dosed: list[datetime]

    def find(self, times: Iterable[datetime], minutes: int, gap_hours: int, now: datetime) -> datetime | None:
        needs = [[one] for one in (*self.session, self.patient)]
        for start in times:
            fits = start >= now and gap_kept(start, self.dosed, gap_hours)
            if fits and (chosen := place(needs, start, start + timedelta(minutes=minutes), self.zone)):
                take(chosen, start, start + timedelta(minutes=minutes))
                self.dosed.append(start)
                return start
        return None


async def book_course(unit: UnitOfWork, deps: Deps, plan_id: str, body: schemas.NewCourse) -> Document:
    """Raises Invalid for a wrong number of starts or a wrong resource, Conflict that names the session without a place."""
    course = await courses.open_course(unit, plan_id)
    patient = await patients.lock(unit, course["patient_id"])
    if held := patients.holds(patient, deps.protocol.consents(course["route"])) | set(courses.codes(course)):
        raise courses.held_by(held)
    numbers = await courses.take_numbers(unit, course)
    if not numbers:
        raise courses.full()
    minutes = body.minutes or deps.protocol.courses[course["route"]].minutes
    zone = await zone_of(unit, deps)
    wanted = _wanted(deps, course, body, numbers, zone)
    room = await _room(unit, deps, body, patient, wanted, zone)
    sessions: list[Document] = []
    for number, times in zip(numbers, wanted, strict=True):
        start = room.find(times, minutes, course["min_gap_hours"], unit.clock.clinical_now())
        if start is None:
            raise _no_place("no_slot", number)
        fields = {"kind": "dosing", "sequence_no": number, "of": course["session_count"]}
        sessions.append(await _book(unit, deps, course, fields, start, minutes, room.session))
    reserve = bool(body.integration_resources) and course["integration_after"]
    made = sessions + [await _reserve(unit, deps, course, row, room) for row in sessions if reserve]
    ids = [row["_id"] for row in sorted(made, key=lambda row: row["start"])]
    # `take_numbers` wrote the course: this is the version that it has now.
    event = CourseBooked(patient_id=course["patient_id"], plan_id=plan_id, appointments=ids)
    emit(unit, event, aggregate=f"course/{plan_id}", version=course["version"] + 1)
    audit(unit, "course.book", f"course/{plan_id}", patient_id=course["patient_id"])
    return course


def _wanted(
    deps: Deps, course: Document, body: schemas.NewCourse, numbers: Sequence[int], zone: ZoneInfo
) -> list[list[datetime]]:
    """For each session the times to try, the best first."""
    if len(body.starts) == len(numbers):
        return [[start] for start in sorted(body.starts)]
    if len(body.starts) > 1:
        words = f"name one start, or one for each of the {len(numbers)} sessions that are not booked"
        raise Invalid(errors=[FieldError("/starts", words, "length_invalid")])
    protocol = deps.protocol
    around = {name: getattr(protocol, name) for name in ("step_minutes", "flex_hours", "slack_days")}
    nominal = wanted_starts(protocol.courses[course["route"]].phases, body.starts[0], numbers, zone)
    # The first session is at the time that was asked for; the others find their place around theirs.
    return [[body.starts[0]], *(list(candidates(start, **around)) for start in nominal[1:])]


async def _room(
    unit: UnitOfWork,
    deps: Deps,
    body: schemas.NewCourse,
    patient: Document,
    wanted: Sequence[Sequence[datetime]],
    zone: ZoneInfo,
) -> _Room:
    first = min(min(times) for times in wanted)
    last = max(max(times) for times in wanted) + timedelta(hours=deps.protocol.integration.latest_hours_after + 8)
    rows = await claims.resources_named(unit, body.resources)
    others = await claims.resources_named(unit, body.integration_resources, "/integration_resources")
    known = {row["_id"]: await claims.bookable(unit, row, first, last) for row in [*rows, *others]}
    person = await claims.bookable(unit, claims.patient_row(unit, patient["_id"]), first, last)
    session, integration = ([known[row["_id"]] for row in some] for some in (rows, others))
    return _Room(session, integration, person, zone, await courses.dosing_starts(unit, patient))


async def _book(
    unit: UnitOfWork,
    deps: Deps,
    course: Document,
    fields: Document,
    start: datetime,
    minutes: int,
    resources: Sequence[Bookable],
) -> Document:
    fields = {"patient_id": course["patient_id"], "plan_id": course["_id"], "mode": "in_person", **fields}
    fields |= {"start": start, "end": start + timedelta(minutes=minutes)}
    return await place_visit(unit, deps, fields, [one.row for one in resources])


async def _reserve(unit: UnitOfWork, deps: Deps, course: Document, session: Document, room: _Room) -> Document:
    """The first free slot of the protocol's window after the session."""
    rule = deps.protocol.integration
    earliest, latest = (
        session["end"] + timedelta(hours=h) for h in (rule.earliest_hours_after, rule.latest_hours_after)
    )
    grid = starts(earliest, latest, rule.minutes, deps.protocol.step_minutes)
    needs = [[one] for one in (*room.integration, room.patient)]
    found = next(free(needs, grid, rule.minutes, room.zone), None)
    if found is None:
        raise _no_place("no_integration_slot", session["sequence_no"])
    start, chosen = found
    take(chosen, start, start + timedelta(minutes=rule.minutes))
    fields = {"kind": "integration", "follows_appointment": session["_id"]}
    return await _book(unit, deps, course, fields, start, rule.minutes, room.integration)


def _no_place(code: str, number: int) -> Conflict:
    detail = f"No place was found for session {number}; nothing is booked."
    return Conflict(detail, reasons=[{"code": code, "detail": detail, "session": str(number)}])
