"""HTTP in, one use case, HTTP out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.scheduling import schemas, usecases
from services.scheduling.store import APPOINTMENTS, PLANS, RESOURCES
from shared.errors import NotFound
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork
from shared.web.auth import STAFF, Role
from shared.web.call import Call, Reply, admit
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter()
Staff = Annotated[Call, Depends(admit(*STAFF))]
StaffOrSelf = Annotated[Call, Depends(admit(*STAFF, Role.PATIENT))]


def show_resource(row: Document) -> schemas.Resource:
    return schemas.Resource(id=row["_id"], kind=row["kind"], label=row["label"], version=row["version"])


def show_appointment(row: Document) -> schemas.Appointment:
    fields = {name: row[name] for name in set(schemas.Appointment.model_fields) - {"id", "resources"}}
    resources = [schemas.Resource(version=1, **resource) for resource in row["resources"]]
    return schemas.Appointment(id=row["_id"], resources=resources, **fields)


@router.post("/v1/resources", status_code=201, response_model=schemas.Resource, responses=problems())
async def add_resource(body: schemas.NewResource, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.add_resource(unit, body)
        return Reply(show_resource(row), 201, location=f"/v1/resources/{row['_id']}", version=1)

    return await call.write(work)


@router.get("/v1/resources", responses=problems())
async def list_resources(call: Staff) -> Response:
    page = call.page(["kind"])
    return await call.read(lambda reader: page.of(reader, RESOURCES, {}, show_resource))


@router.post("/v1/appointments", status_code=201, response_model=schemas.Appointment, responses=problems(409))
async def book_appointment(body: schemas.NewAppointment, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.book(unit, call.deps, body)
        return Reply(show_appointment(row), 201, location=f"/v1/appointments/{row['_id']}", version=1)

    return await call.write(work)


@router.get("/v1/appointments", responses=problems())
async def list_appointments(call: Staff) -> Response:
    page = call.page(["patient_id", "plan_id", "kind", "state"])
    return await call.read(lambda reader: page.of(reader, APPOINTMENTS, {}, show_appointment))


@router.get("/v1/appointments/{appointment_id}", response_model=schemas.Appointment, responses=problems(404))
async def get_appointment(appointment_id: Id, call: StaffOrSelf) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(APPOINTMENTS).get(appointment_id)
        if not call.only_self(row["patient_id"]):
            raise NotFound
        audit(unit, "appointment.read", f"appointment/{appointment_id}", patient_id=row["patient_id"])
        return Reply(show_appointment(row), version=row["version"])

    return await call.write(work)


@router.get("/v1/courses/{plan_id}", response_model=schemas.Course, responses=problems())
async def get_course(plan_id: Id, call: Staff) -> Response:
    """The course of a plan; `known` is false until the plan's event has arrived."""

    async def read(reader: Reader) -> Reply:
        row = await reader.collection(PLANS).find_one({"_id": plan_id})
        numbers = {"session_count": row["session_count"], "booked": row["booked"]} if row else {}
        return Reply(schemas.Course(plan_id=plan_id, known=row is not None, **numbers))

    return await call.read(read)
