"""HTTP in, one use case, HTTP out."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.intake import schemas, usecases
from services.intake.store import INQUIRIES, PATIENTS, PLANS
from shared.errors import NotFound, Unauthorized
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork
from shared.web.auth import CLINICAL, STAFF, Principal, Role
from shared.web.call import Call, Reply, admit
from shared.web.problems import problems
from shared.web.runtime import Runtime
from shared.web.schemas import Id

router = APIRouter()
Staff = Annotated[Call, Depends(admit(*STAFF))]
Prescriber = Annotated[Call, Depends(admit(Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Director = Annotated[Call, Depends(admit(Role.MEDICAL_DIRECTOR))]
StaffOrSelf = Annotated[Call, Depends(admit(*STAFF, Role.PATIENT))]
Clinical = Annotated[Call, Depends(admit(*CLINICAL))]


async def inquiry_form(request: Request) -> Call:
    """Staff by token; the public form by its publishable key, which names one clinic and can do nothing else."""
    given = request.headers.get("publishable-key")
    if given is None:
        return await admit(*STAFF)(request)
    runtime: Runtime = request.app.state.runtime
    for key, clinic_id in runtime.deps.publishable_keys.items():
        if hmac.compare_digest(given.encode(), key.encode()):
            return Call(request, runtime, Principal("web-form", frozenset(), frozenset({clinic_id})), clinic_id)
    raise Unauthorized


def show_inquiry(row: Document) -> schemas.Inquiry:
    return schemas.Inquiry(
        id=row["_id"],
        channel=row["channel"],
        state=row["state"],
        patient_id=row["patient_id"],
        received_at=row["created_at"],
        version=row["version"],
    )


def show_plan(row: Document) -> schemas.Plan:
    shared = set(schemas.Plan.model_fields) - {"id", "sessions_done"}
    fields = {name: row[name] for name in shared}
    return schemas.Plan(id=row["_id"], sessions_done=len(row["session_ids"]), **fields)


@router.post("/v1/inquiries", status_code=201, response_model=schemas.Inquiry, responses=problems())
async def receive_inquiry(body: schemas.NewInquiry, call: Annotated[Call, Depends(inquiry_form)]) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.receive_inquiry(unit, call.deps, body)
        return Reply(show_inquiry(row), 201, location=f"/v1/inquiries/{row['_id']}", version=1)

    return await call.write(work)


@router.get("/v1/inquiries", responses=problems())
async def list_inquiries(call: Staff) -> Response:
    page = call.page(["state", "channel"])
    return await call.read(lambda reader: page.of(reader, INQUIRIES, {}, show_inquiry))


@router.get("/v1/inquiries/{inquiry_id}", response_model=schemas.Inquiry, responses=problems(404))
async def get_inquiry(inquiry_id: Id, call: Staff) -> Response:
    async def read(reader: Reader) -> Reply:
        row = await reader.collection(INQUIRIES).get(inquiry_id)
        return Reply(show_inquiry(row), version=row["version"])

    return await call.read(read)


@router.post(
    "/v1/inquiries/{inquiry_id}/convert", status_code=201, response_model=schemas.Patient, responses=problems(404, 409)
)
async def convert_inquiry(inquiry_id: Id, body: schemas.Conversion, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.convert_inquiry(unit, call.deps, inquiry_id, body)
        return Reply(_patient(row, None), 201, location=f"/v1/patients/{row['_id']}", version=1)

    return await call.write(work)


@router.post("/v1/inquiries/{inquiry_id}/erase", response_model=schemas.Inquiry, responses=problems(404, 409))
async def erase_inquiry(inquiry_id: Id, body: schemas.Erasure, call: Director) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.erase_inquiry(unit, call.deps, inquiry_id, body.reason_code)
        return Reply(show_inquiry(row), version=row["version"])

    return await call.write(work)


def _patient(row: Document, contact: Document | None) -> schemas.Patient:
    return schemas.Patient(
        id=row["_id"],
        inquiry_id=row["inquiry_id"],
        birth_year=row["birth_year"],
        time_zone=row["time_zone"],
        contact=schemas.Contact(**contact) if contact else None,
        version=row["version"],
    )


@router.get("/v1/patients/{patient_id}", response_model=schemas.Patient, responses=problems(404))
async def get_patient(patient_id: Id, call: StaffOrSelf) -> Response:
    """The audit row of the read is committed before the answer."""
    if not call.only_self(patient_id):
        raise NotFound

    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(PATIENTS).get(patient_id)
        audit(unit, "patient.read", f"patient/{patient_id}", patient_id=patient_id)
        contact = await call.deps.vault.decrypt(unit, patient_id, row["contact"])
        return Reply(_patient(row, contact), version=row["version"])

    return await call.write(work)


@router.post("/v1/patients/{patient_id}/plans", status_code=201, response_model=schemas.Plan, responses=problems(404))
async def draft_plan(patient_id: Id, body: schemas.NewPlan, call: Clinical) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.draft_plan(unit, call.deps, patient_id, body)
        return Reply(show_plan(row), 201, location=f"/v1/plans/{row['_id']}", version=1)

    return await call.write(work)


@router.get("/v1/plans/{plan_id}", response_model=schemas.Plan, responses=problems(404))
async def get_plan(plan_id: Id, call: StaffOrSelf) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(PLANS).get(plan_id)
        if not call.only_self(row["patient_id"]):
            raise NotFound
        audit(unit, "plan.read", f"plan/{plan_id}", patient_id=row["patient_id"])
        return Reply(show_plan(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/plans/{plan_id}/activate", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def activate_plan(plan_id: Id, call: Prescriber) -> Response:
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.activate_plan(unit, plan_id, expected)
        return Reply(show_plan(row), version=row["version"])

    return await call.write(work)


async def _move_plan(call: Call, plan_id: str, verb: str, body: schemas.PlanMove) -> Response:
    expected = call.expected_version()

    async def work(unit: UnitOfWork) -> Reply:
        row = await usecases.move_plan(unit, plan_id, verb, expected, body.reason_code)
        return Reply(show_plan(row), version=row["version"])

    return await call.write(work)


@router.post("/v1/plans/{plan_id}/pause", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def pause_plan(plan_id: Id, body: schemas.PlanMove, call: Prescriber) -> Response:
    """Hold the dosing."""
    return await _move_plan(call, plan_id, "pause", body)


@router.post("/v1/plans/{plan_id}/resume", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def resume_plan(plan_id: Id, body: schemas.PlanMove, call: Prescriber) -> Response:
    """Go on with the dosing."""
    return await _move_plan(call, plan_id, "resume", body)


@router.post("/v1/plans/{plan_id}/discontinue", response_model=schemas.Plan, responses=problems(404, 409, 412, 428))
async def discontinue_plan(plan_id: Id, body: schemas.PlanMove, call: Prescriber) -> Response:
    """End the plan for good."""
    return await _move_plan(call, plan_id, "discontinue", body)
