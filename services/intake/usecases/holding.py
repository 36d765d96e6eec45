"""A legal hold: clinical records are kept for a proceeding, beyond their retention. Both its ends have a reason and an author."""

from services.intake import model
from services.intake.store import PATIENTS
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork


async def hold(unit: UnitOfWork, patient_id: str, reason_code: str) -> Document:
    """The hold that stands stays as it is. Raises NotFound."""
    patient = await unit.collection(PATIENTS).get(patient_id)
    audit(unit, f"patient.hold.{reason_code}", f"patient/{patient_id}", patient_id=patient_id)
    if model.held(patient):
        return patient
    now = unit.clock.clinical_now()
    after = model.changed(patient, now, legal_hold={"reason_code": reason_code, "since": now})
    await unit.collection(PATIENTS).replace_versioned(after)
    return after


async def lift(unit: UnitOfWork, patient_id: str, reason_code: str) -> Document:
    """Raises NotFound, Conflict when nothing is held."""
    after = model.lift_hold(await unit.collection(PATIENTS).get(patient_id), unit.clock.clinical_now())
    await unit.collection(PATIENTS).replace_versioned(after)
    audit(unit, f"patient.lift_hold.{reason_code}", f"patient/{patient_id}", patient_id=patient_id)
    return after
