"""Clinical summary, REMS enrolment and suicide risk of a patient. If-Match `"v0"` where nothing was recorded yet."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.intake import schemas
from services.intake.routes.edge import (
    PATIENT,
    Assessing,
    Clinical,
    ClinicalOrSelf,
    Staff,
    change,
    read_of_patient,
    shown,
)
from services.intake.store import REMS, RISKS, SUMMARIES
from services.intake.usecases import bedside
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Call, Reply
from shared.web.nurse import nurse_route
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["bedside"])


def show_summary(row: Document) -> schemas.ClinicalSummary:
    return shown(schemas.ClinicalSummary, row, patient_id=row["_id"])


def show_enrolment(row: Document) -> schemas.RemsEnrolment:
    return shown(schemas.RemsEnrolment, row, patient_id=row["_id"])


def show_risk(row: Document) -> schemas.Risk:
    return shown(schemas.Risk, row, patient_id=row["_id"])


async def _current(
    call: Call, patient_id: str, collection: str, what: str, show: Callable[[Document], BaseModel]
) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await bedside.current(unit, collection, patient_id)
        return Reply(show(row), version=row["version"])

    return await read_of_patient(call, patient_id, what, work)


@router.get(f"{PATIENT}/clinical-summary", response_model=schemas.ClinicalSummary, responses=problems(404))
async def get_clinical_summary(patient_id: Id, call: ClinicalOrSelf) -> Response:
    return await _current(call, patient_id, SUMMARIES, "clinical_summary", show_summary)


@router.put(f"{PATIENT}/clinical-summary", response_model=schemas.ClinicalSummary, responses=problems(404, 412, 428))
async def put_clinical_summary(patient_id: Id, body: schemas.NewClinicalSummary, call: Clinical) -> Response:
    """The whole summary, as it was compared with the patient."""
    expected = call.expected_version()
    return await change(call, lambda unit: bedside.reconcile(unit, patient_id, expected, body), show_summary)


@router.get(f"{PATIENT}/rems-enrolment", response_model=schemas.RemsEnrolment, responses=problems(404))
async def get_rems_enrolment(patient_id: Id, call: Staff) -> Response:
    return await _current(call, patient_id, REMS, "rems_enrolment", show_enrolment)


@router.put(f"{PATIENT}/rems-enrolment", response_model=schemas.RemsEnrolment, responses=problems(404, 412, 428))
async def put_rems_enrolment(patient_id: Id, body: schemas.NewRemsEnrolment, call: Clinical) -> Response:
    expected = call.expected_version()
    return await change(call, lambda unit: bedside.enrol(unit, patient_id, expected, body), show_enrolment)


@router.get(f"{PATIENT}/risk", response_model=schemas.Risk, responses=problems(404))
async def get_risk(patient_id: Id, call: Clinical) -> Response:
    return await _current(call, patient_id, RISKS, "risk", show_risk)


@router.post(f"{PATIENT}/risk/flag", response_model=schemas.Risk, responses=problems(404))
@nurse_route
async def flag_risk(patient_id: Id, body: schemas.RiskFinding, call: Staff) -> Response:
    """Holds the dosing; `high` pages who is on call. No If-Match: nothing may stop it. A weaker finding lowers nothing."""
    return await change(call, lambda unit: bedside.flag_risk(unit, call.deps, patient_id, body), show_risk)


@router.post(f"{PATIENT}/risk/clear", response_model=schemas.Risk, responses=problems(404, 409, 412, 428))
async def clear_risk(patient_id: Id, body: schemas.RiskAssessment, call: Assessing) -> Response:
    """After an assessment. If-Match, so that nobody clears a flag that he has not seen."""
    expected = call.expected_version()
    return await change(call, lambda unit: bedside.clear_risk(unit, patient_id, expected, body), show_risk)
