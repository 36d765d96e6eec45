"""The course of a plan: what is known of it, what holds it, which of its sessions are not booked yet."""

from collections.abc import Sequence
from datetime import datetime

from services.scheduling.cadence import gap_kept
from services.scheduling.model import LIVE, VOID, changed
from services.scheduling.store import APPOINTMENTS, COURSES
from services.scheduling.usecases import patients
from services.scheduling.usecases.deps import Deps
from shared.errors import Conflict, FieldError, Invalid, VersionConflict
from shared.events.envelope import UNKNOWN
from shared.events.scheduling import CourseHeld, CourseReleased
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document

FINAL = ("completed", "discontinued")
_CLOSED = ("draft", UNKNOWN, *FINAL)  # of a state that only later code knows nothing is booked


async def find(unit: UnitOfWork, plan_id: str | None) -> Document | None:
    return await unit.collection(COURSES).find_one({"_id": plan_id}) if plan_id else None


async def find_or_stub(unit: UnitOfWork, plan_id: str, patient_id: str) -> Document:
    """Before its plan is known a course keeps what came first: holds, and sessions that wait for their integration."""
    found = await find(unit, plan_id)
    if found:
        return found
    stub = {"patient_id": patient_id, "known": False, "status": "unknown", "plan_sequence": "", "route": None}
    stub |= {"session_count": 0, "min_gap_hours": 0, "integration_after": False, "holds": [], "waiting": []}
    row = as_document(plan_id, unit.clock.clinical_now(), **stub)
    await unit.collection(COURSES).insert(row)
    return row


async def save(unit: UnitOfWork, course: Document, **fields: object) -> Document:
    after = changed(course, unit.clock.clinical_now(), **fields)
    await unit.collection(COURSES).replace_versioned(after)
    return after


def codes(course: Document) -> list[str]:
    return sorted({hold["code"] for hold in course["holds"]})


async def hold(unit: UnitOfWork, course: Document, code: str, cause: str = "") -> Document:
    """Emits CourseHeld, once for each code and cause."""
    entry = {"code": code, "cause": cause}
    if entry in course["holds"]:
        return course
    after = await save(unit, course, holds=[*course["holds"], entry])
    await _tell(unit, CourseHeld, after, code)
    return after


async def release(unit: UnitOfWork, course: Document, code: str) -> Document:
    """Emits CourseReleased when nothing else holds the course."""
    left = [entry for entry in course["holds"] if entry["code"] != code]
    if len(left) == len(course["holds"]):
        return course
    after = await save(unit, course, holds=left)
    if not left:
        await _tell(unit, CourseReleased, after, code)
    return after


async def _tell(unit: UnitOfWork, kind: type[CourseHeld] | type[CourseReleased], course: Document, code: str) -> None:
    ahead = {"plan_id": course["_id"], "kind": "dosing", "state": {"$in": list(LIVE)}}
    rows = await unit.collection(APPOINTMENTS).find(ahead, sort=[("start", 1)])
    fields = {"patient_id": course["patient_id"], "plan_id": course["_id"], "reason_code": code}
    event = kind.model_validate(fields | {"appointments": [row["_id"] for row in rows]})
    emit(unit, event, aggregate=f"course/{course['_id']}", version=course["version"])


async def admit_dosing(
    unit: UnitOfWork, deps: Deps, patient_id: str, plan_id: str | None, start: datetime, *, moving: str | None = None
) -> Document | None:
    """The course for one more dosing session, or for moving the session `moving`.

    Raises Conflict: plan not known or over, course held (a session that has its place may still be moved), gap too short;
    Invalid for somebody else's plan.
    """
    patient = await patients.lock(unit, patient_id)
    course = await open_course(unit, plan_id, patient_id) if plan_id else None
    held = patients.holds(patient, deps.protocol.consents(course["route"] if course else None))
    held |= set(codes(course)) if course else set()
    if held and not moving:
        raise held_by(held)
    if course:
        others = await dosing_starts(unit, patient, but=moving)
        if not gap_kept(start, others, course["min_gap_hours"]):
            raise too_close(course)
    return course


async def open_course(unit: UnitOfWork, plan_id: str, patient_id: str | None = None) -> Document:
    """Raises Conflict for a plan that is not known, not active yet or over, Invalid for somebody else's."""
    course = await find(unit, plan_id)
    if course is None or not course["known"]:
        raise _refused("plan_unknown", "The plan is not known here (yet).")
    check_owner(course, patient_id)
    if course["status"] in _CLOSED:
        raise _refused(f"plan_{course['status']}", f"The plan is {course['status']}.")
    return course


def check_owner(course: Document | None, patient_id: str | None) -> None:
    """Raises Invalid for somebody else's plan."""
    if course and patient_id is not None and course["patient_id"] != patient_id:
        raise Invalid(errors=[FieldError("/plan_id", "is another patient's plan", "other_patient")])


def _refused(code: str, detail: str) -> Conflict:
    return Conflict(detail, reasons=[{"code": code, "detail": detail}])


def held_by(held: set[str]) -> Conflict:
    reasons = [{"code": "course_held", "detail": f"Dosing is on hold: {code}.", "hold": code} for code in sorted(held)]
    return Conflict("Dosing is on hold.", reasons=reasons)


def too_close(course: Document) -> Conflict:
    return _refused("too_close", f"The plan asks for {course['min_gap_hours']} hours between sessions.")


def full() -> Conflict:
    return _refused("course_full", "Every session of the plan is booked.")


async def dosing_starts(unit: UnitOfWork, patient: Document, but: str | None = None) -> list[datetime]:
    """When this patient is or will be dosed: what stands in the book, and the last dose that was really given."""
    query = {"patient_id": patient["_id"], "kind": "dosing", "state": {"$nin": list(VOID)}}
    rows = await unit.collection(APPOINTMENTS).find(query)
    given = [patient["last_dose_at"]] if patient["last_dose_at"] else []
    return [row["start"] for row in rows if row["_id"] != but] + given


async def dosing_of(unit: UnitOfWork, course: Document) -> list[Document]:
    """The sessions of this course that are booked or given, by time."""
    query = {"plan_id": course["_id"], "kind": "dosing", "state": {"$nin": list(VOID)}}
    return await unit.collection(APPOINTMENTS).find(query, sort=[("start", 1)])


async def take_numbers(unit: UnitOfWork, course: Document) -> Sequence[int]:
    """The numbers of the sessions that are not booked yet; writing the course keeps two bookings from the same one."""
    used = {row["sequence_no"] for row in await dosing_of(unit, course)}
    await save(unit, course)
    return [number for number in range(1, course["session_count"] + 1) if number not in used]


async def release_by_hand(unit: UnitOfWork, plan_id: str, code: str, expected: int) -> Document:
    """Raises NotFound, VersionConflict, and Conflict when that does not hold the course."""
    course = await unit.collection(COURSES).get(plan_id)
    if course["version"] != expected:
        raise VersionConflict
    if code not in codes(course):
        raise _refused("not_held", "The course is not held for this reason.")
    after = await release(unit, course, code)
    audit(unit, f"course.release.{code}", f"course/{plan_id}", patient_id=course["patient_id"])
    return after
