"""First contact, by staff or by the public form."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.intake import schemas
from services.intake.routes.edge import Director, Staff, change, shown
from services.intake.routes.patients import show_patient
from services.intake.store import INQUIRIES
from services.intake.usecases import erasing, inquiries
from shared.errors import Unauthorized
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.auth import STAFF
from shared.web.call import Call, Listed, Listing, Reply, admit
from shared.web.form import form_call, public_form
from shared.web.problems import problems
from shared.web.runtime import Runtime
from shared.web.schemas import Id

router = APIRouter(tags=["inquiries"])
LISTED = Listed(schemas.Inquiry, "state", "channel")


async def inquiry_form(request: Request) -> Call:
    """Staff by token; the public form by its publishable key, which names one clinic and can do nothing else."""
    given = request.headers.get("publishable-key")
    if given is None:
        return await admit(*STAFF)(request)
    runtime: Runtime = request.app.state.runtime
    for key, clinic_id in runtime.deps.publishable_keys.items():
        if hmac.compare_digest(given.encode(), key.encode()):
            return form_call(request, given, clinic_id)
    raise Unauthorized


def show_inquiry(row: Document) -> schemas.Inquiry:
    return shown(schemas.Inquiry, row, id=row["_id"], received_at=row["created_at"])


@router.post("/v1/inquiries", status_code=201, response_model=schemas.Inquiry, responses=problems())
@public_form
async def receive_inquiry(body: schemas.NewInquiry, call: Annotated[Call, Depends(inquiry_form)]) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await inquiries.receive_inquiry(unit, call.deps, body)
        return Reply(show_inquiry(row), 201, location=f"/v1/inquiries/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    "/v1/inquiries", response_model=Listing[schemas.Inquiry], responses=problems(), openapi_extra=LISTED.parameters
)
async def list_inquiries(call: Staff) -> Response:
    page = call.page(LISTED)
    return await call.read(lambda reader: page.of(reader, INQUIRIES, {}, show_inquiry), audited="inquiries")


@router.get("/v1/inquiries/{inquiry_id}", response_model=schemas.Inquiry, responses=problems(404))
async def get_inquiry(inquiry_id: Id, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(INQUIRIES).get(inquiry_id)
        audit(unit, "inquiry.read", f"inquiry/{inquiry_id}", patient_id=row["patient_id"])
        return Reply(show_inquiry(row), version=row["version"])

    return await call.write(work)


@router.post(
    "/v1/inquiries/{inquiry_id}/convert", status_code=201, response_model=schemas.Patient, responses=problems(404, 409)
)
async def convert_inquiry(inquiry_id: Id, body: schemas.Conversion, call: Staff) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await inquiries.convert_inquiry(unit, call.deps, inquiry_id, body)
        return Reply(show_patient(row), 201, location=f"/v1/patients/{row['_id']}", version=1)

    return await call.write(work)


@router.post("/v1/inquiries/{inquiry_id}/erase", response_model=schemas.Inquiry, responses=problems(404, 409))
async def erase_inquiry(inquiry_id: Id, body: schemas.Erasure, call: Director) -> Response:
    return await change(
        call,
        lambda unit: erasing.erase_inquiry(unit, call.deps, inquiry_id, body.reason_code),
        show_inquiry,
        forgets=True,
    )
