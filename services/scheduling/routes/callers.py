"""Who is admitted to the routes of scheduling."""

from typing import Annotated

from fastapi import Depends

from shared.errors import NotFound
from shared.web.auth import STAFF, Role
from shared.web.call import Call, admit

Staff = Annotated[Call, Depends(admit(*STAFF))]
StaffOrSelf = Annotated[Call, Depends(admit(*STAFF, Role.PATIENT))]
Management = Annotated[Call, Depends(admit(Role.FRONT_DESK, Role.MEDICAL_DIRECTOR))]
Prescribers = Annotated[Call, Depends(admit(Role.PRESCRIBER, Role.MEDICAL_DIRECTOR))]


def self_only(call: Call) -> str | None:
    """The patient whose token this is, None for staff. Raises NotFound for a patient's token that names nobody."""
    if call.principal.roles & set(STAFF):
        return None
    if call.principal.patient_id is None:
        raise NotFound
    return call.principal.patient_id


def must_be_own(call: Call, patient_id: str) -> None:
    """Raises NotFound when a patient asks for what is somebody else's."""
    if self_only(call) not in (None, patient_id):
        raise NotFound
