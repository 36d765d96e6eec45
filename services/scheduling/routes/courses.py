"""The course of a plan."""

from fastapi import APIRouter, Response

from services.scheduling import schemas
from services.scheduling.routes.callers import Prescribers, Staff
from services.scheduling.usecases import courses
from services.scheduling.usecases.course_booking import book_course
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter()


async def _reply(unit: UnitOfWork, plan_id: str, status: int = 200) -> Reply:
    row = await courses.find(unit, plan_id)
    if row is None:
        return Reply(schemas.Course(plan_id=plan_id, known=False), version=0)
    sessions = await courses.dosing_of(unit, row)
    fields: Document = {name: row[name] for name in ("known", "status", "session_count")}
    fields |= {"holds": courses.codes(row), "booked": len(sessions)}
    shown = schemas.Course(plan_id=plan_id, appointments=[session["_id"] for session in sessions], **fields)
    location = f"/v1/courses/{plan_id}" if status == 201 else None  # noqa: PLR2004 - created
    return Reply(shown, status, location=location, version=row["version"])


@router.get("/v1/courses/{plan_id}", response_model=schemas.Course, responses=problems())
async def get_course(plan_id: Id, call: Staff) -> Response:
    """The course of a plan; `known` is false until the plan's event has arrived."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await courses.find(unit, plan_id)
        audit(unit, "course.read", f"course/{plan_id}", patient_id=row["patient_id"] if row else None)
        return await _reply(unit, plan_id)

    return await call.write(work)


@router.post("/v1/courses/{plan_id}/book", status_code=201, response_model=schemas.Course, responses=problems(409))
async def book_whole_course(plan_id: Id, body: schemas.NewCourse, call: Staff) -> Response:
    """Every session of the plan that is not booked yet, all or nothing."""

    async def work(unit: UnitOfWork) -> Reply:
        await book_course(unit, call.deps, plan_id, body)
        return await _reply(unit, plan_id, 201)

    return await call.write(work)


@router.post("/v1/courses/{plan_id}/release", response_model=schemas.Course, responses=problems(404, 409, 412, 428))
async def release_course(plan_id: Id, body: schemas.Release, call: Prescribers) -> Response:
    """Ends a hold that scheduling itself set; a hold of the plan, of consent or of risk ends with its cause."""
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        await courses.release_by_hand(unit, plan_id, body.reason_code, expected)
        return await _reply(unit, plan_id)

    return await call.write(work)
