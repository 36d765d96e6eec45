"""Patients and their contact data."""

from fastapi import APIRouter, Response

from services.intake import model, schemas
from services.intake.routes.edge import PATIENT, Director, Staff, StaffOrSelf, change, itself, read_of_patient, shown
from services.intake.store import PATIENTS
from services.intake.usecases import erasing, holding, patients
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["patients"])
LISTED = Listed(schemas.Patient, "inquiry_id", "time_zone")


def show_patient(row: Document, contact: Document | None = None) -> schemas.Patient:
    return shown(schemas.Patient, row, id=row["_id"], contact=contact, legal_hold=model.held(row))


@router.post("/v1/patients", status_code=201, response_model=schemas.Patient, responses=problems())
async def register_patient(body: schemas.NewPatient, call: Staff) -> Response:
    """Without an inquiry."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await patients.register(unit, call.deps, body)
        return Reply(show_patient(row), 201, location=f"/v1/patients/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    "/v1/patients", response_model=Listing[schemas.Patient], responses=problems(), openapi_extra=LISTED.parameters
)
async def list_patients(call: Staff) -> Response:
    """Newest first, without contact data: that is read one by one."""
    page = call.page(LISTED)

    async def work(unit: UnitOfWork) -> Reply:
        audit(unit, "patients.list", "patients")
        return await page.of(unit, PATIENTS, {}, show_patient)

    return await call.write(work)


@router.get(PATIENT, response_model=schemas.Patient, responses=problems(404))
async def get_patient(patient_id: Id, call: StaffOrSelf) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await unit.collection(PATIENTS).get(patient_id)
        contact = await patients.contact_of(unit, call.deps, row)
        return Reply(show_patient(row, contact), version=row["version"])

    return await read_of_patient(call, patient_id, "patient", work)


@router.patch(PATIENT, response_model=schemas.Patient, responses=problems(404, 412, 428))
async def correct_patient(patient_id: Id, body: schemas.PatientChange, call: Staff) -> Response:
    expected = call.expected_version()
    return await change(call, lambda unit: patients.correct(unit, patient_id, expected, body), show_patient)


@router.put(f"{PATIENT}/contact", response_model=schemas.Patient, responses=problems(404, 412, 428))
async def change_contact(patient_id: Id, body: schemas.Contact, call: StaffOrSelf) -> Response:
    """The whole contact; If-Match with the patient's ETag."""
    itself(call, patient_id)
    expected = call.expected_version()
    return await change(
        call,
        lambda unit: patients.change_contact(unit, call.deps, patient_id, expected, body),
        lambda row: show_patient(row, body.model_dump()),
    )


@router.post(f"{PATIENT}/erase", response_model=schemas.Patient, responses=problems(404, 409))
async def erase_patient(patient_id: Id, body: schemas.PatientErasure, call: Director) -> Response:
    """Contact data at once; clinical records only when their retention has passed (409 with `earliest_at`) and no hold runs."""
    return await change(
        call, lambda unit: erasing.erase_patient(unit, call.deps, patient_id, body), show_patient, forgets=True
    )


@router.post(f"{PATIENT}/legal-hold", response_model=schemas.Patient, responses=problems(404))
async def hold_patient(patient_id: Id, body: schemas.Reason, call: Director) -> Response:
    """Clinical records stay, whatever their retention says, until the hold is lifted."""
    return await change(call, lambda unit: holding.hold(unit, patient_id, body.reason_code), show_patient)


@router.post(f"{PATIENT}/legal-hold/lift", response_model=schemas.Patient, responses=problems(404, 409))
async def lift_hold(patient_id: Id, body: schemas.Reason, call: Director) -> Response:
    return await change(call, lambda unit: holding.lift(unit, patient_id, body.reason_code), show_patient)
