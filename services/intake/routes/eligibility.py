"""The prescriber's decisions about treatment."""

from fastapi import APIRouter, Response

from services.intake import schemas
from services.intake.routes.edge import PATIENT, ClinicalOrSelf, Prescriber, read_of_patient, shown
from services.intake.store import ELIGIBILITY
from services.intake.usecases import eligibility
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["eligibility"])
LISTED = Listed(schemas.Decision, "decision", "route")


def show_decision(row: Document) -> schemas.Decision:
    return shown(schemas.Decision, row, id=row["_id"])


@router.post(f"{PATIENT}/eligibility", status_code=201, response_model=schemas.Decision, responses=problems(404))
async def determine_eligibility(patient_id: Id, body: schemas.NewDecision, call: Prescriber) -> Response:
    """Takes the place of the decision before."""

    async def work(unit: UnitOfWork) -> Reply:
        row = await eligibility.determine(unit, patient_id, body)
        return Reply(show_decision(row), 201, version=row["version"])

    return await call.write(work)


@router.get(
    f"{PATIENT}/eligibility",
    response_model=Listing[schemas.Decision],
    responses=problems(404),
    openapi_extra=LISTED.parameters,
)
async def list_eligibility(patient_id: Id, call: ClinicalOrSelf) -> Response:
    """The decisions, newest first: the first one stands."""
    page = call.page(LISTED)
    mine = {"patient_id": patient_id}
    return await read_of_patient(
        call, patient_id, "eligibility", lambda unit: page.of(unit, ELIGIBILITY, mine, show_decision)
    )
