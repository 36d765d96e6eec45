"""What the routes share: who may call, and how a patient's record is read."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Response
from pydantic import BaseModel

from services.intake.store import PATIENTS
from shared.errors import NotFound
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.web.auth import CLINICAL, STAFF, Role
from shared.web.call import Call, Reply, admit

M = TypeVar("M", bound=BaseModel)
PATIENT = "/v1/patients/{patient_id}"

Staff = Annotated[Call, Depends(admit(*STAFF))]
Clinical = Annotated[Call, Depends(admit(*CLINICAL))]
Assessing = Annotated[Call, Depends(admit(Role.CLINICIAN, Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Prescriber = Annotated[Call, Depends(admit(Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]
Director = Annotated[Call, Depends(admit(Role.MEDICAL_DIRECTOR))]
Managing = Annotated[Call, Depends(admit(Role.MEDICAL_DIRECTOR, Role.OPERATOR))]
StaffOrSelf = Annotated[Call, Depends(admit(*STAFF, Role.PATIENT))]
ClinicalOrSelf = Annotated[Call, Depends(admit(*CLINICAL, Role.PATIENT))]
Anybody = Annotated[Call, Depends(admit(*STAFF, Role.PATIENT, Role.OPERATOR))]


def shown(model: type[M], row: Document, **said: object) -> M:
    """The fields of the document that the answer has; `said` are those that it has not or that are hidden."""
    names = set(model.model_fields) - set(said)
    return model.model_validate({**said, **{name: row[name] for name in names if name in row}})


def itself(call: Call, patient_id: str) -> None:
    """A patient sees nobody but himself. Raises NotFound."""
    if not call.only_self(patient_id):
        raise NotFound


async def read_of_patient(
    call: Call, patient_id: str, what: str, work: Callable[[UnitOfWork], Awaitable[Reply]]
) -> Response:
    """The patient must be this clinic's. The audit row of the read is committed before the answer."""
    itself(call, patient_id)

    async def read(unit: UnitOfWork) -> Reply:
        await unit.collection(PATIENTS).get(patient_id)
        audit(unit, f"{what}.read", f"patient/{patient_id}", patient_id=patient_id)
        return await work(unit)

    return await call.write(read)


async def change(
    call: Call,
    work: Callable[[UnitOfWork], Awaitable[Document]],
    show: Callable[[Document], BaseModel],
    *,
    forgets: bool = False,
) -> Response:
    """One use case on a document, and the document as it is after it; `forgets` as in `Call.write`."""

    async def run(unit: UnitOfWork) -> Reply:
        row = await work(unit)
        return Reply(show(row), version=row["version"])

    return await call.write(run, forgets=forgets)
