"""What a patient has signed. Staff record it, and a patient may sign and revoke for himself."""

from fastapi import APIRouter, Response

from services.intake import schemas
from services.intake.routes.edge import PATIENT, StaffOrSelf, change, itself, read_of_patient, shown
from services.intake.store import CONSENTS
from services.intake.usecases import consents
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.call import Listed, Listing, Reply
from shared.web.problems import problems
from shared.web.schemas import Id

router = APIRouter(tags=["consents"])
LISTED = Listed(schemas.Consent, "document", "state")


def show_consent(row: Document) -> schemas.Consent:
    return shown(schemas.Consent, row, id=row["_id"])


@router.post(f"{PATIENT}/consents", status_code=201, response_model=schemas.Consent, responses=problems(404))
async def sign_consent(patient_id: Id, body: schemas.NewConsent, call: StaffOrSelf) -> Response:
    itself(call, patient_id)

    async def work(unit: UnitOfWork) -> Reply:
        row = await consents.sign(unit, call.deps, patient_id, body)
        return Reply(show_consent(row), 201, location=f"/v1/patients/{patient_id}/consents/{row['_id']}", version=1)

    return await call.write(work)


@router.get(
    f"{PATIENT}/consents",
    response_model=Listing[schemas.Consent],
    responses=problems(404),
    openapi_extra=LISTED.parameters,
)
async def list_consents(patient_id: Id, call: StaffOrSelf) -> Response:
    page = call.page(LISTED)
    mine = {"patient_id": patient_id}
    return await read_of_patient(call, patient_id, "consents", lambda unit: page.of(unit, CONSENTS, mine, show_consent))


@router.get(f"{PATIENT}/consents/{{consent_id}}", response_model=schemas.Consent, responses=problems(404))
async def get_consent(patient_id: Id, consent_id: Id, call: StaffOrSelf) -> Response:
    async def work(unit: UnitOfWork) -> Reply:
        row = await consents.of_patient(unit, patient_id, consent_id)
        return Reply(show_consent(row), version=row["version"])

    return await read_of_patient(call, patient_id, "consent", work)


@router.post(f"{PATIENT}/consents/{{consent_id}}/revoke", response_model=schemas.Consent, responses=problems(404, 409))
async def revoke_consent(patient_id: Id, consent_id: Id, body: schemas.Reason, call: StaffOrSelf) -> Response:
    """Withdraws the agreement to this document, in all its signatures. No If-Match: nothing may stop a withdrawal."""
    itself(call, patient_id)
    return await change(
        call, lambda unit: consents.revoke(unit, patient_id, consent_id, body.reason_code), show_consent
    )
