"""What the bedside reads: the coded clinical summary, the REMS enrolment, the suicide risk. One document per patient each."""

from services.intake import facts, model, schemas
from services.intake.store import PATIENTS, REMS, RISKS, SUMMARIES, save_current
from services.intake.usecases.deps import Deps
from shared.errors import FieldError, Invalid
from shared.events.intake import SuicideRiskCleared, SuicideRiskFlagged
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork

_EMPTY: dict[str, Document] = {
    SUMMARIES: {"allergies": [], "medications": [], "problems": [], "reconciled_at": None},
    REMS: {"status": "not_enrolled", "valid_until": None},
    RISKS: {"flagged": False, "instrument": None, "item": None, "level": None, "assessment_due_at": None, "at": None},
}


async def current(reader: Reader, collection: str, patient_id: str) -> Document:
    """What stands; version 0 before anything was recorded."""
    known = await reader.collection(collection).find_one({"_id": patient_id})
    return known or {"_id": patient_id, "version": 0, **_EMPTY[collection]}


async def reconcile(unit: UnitOfWork, patient_id: str, expected: int, body: schemas.NewClinicalSummary) -> Document:
    """The whole summary. Raises NotFound, VersionConflict, Invalid."""
    now = unit.clock.clinical_now()
    await unit.collection(PATIENTS).get(patient_id)
    if body.reconciled_at is not None and body.reconciled_at > now:
        raise Invalid(errors=[FieldError("/reconciled_at", "is in the future", "in_future")])
    fields = body.model_dump() | {"reconciled_at": body.reconciled_at or now}
    after = await save_current(unit, SUMMARIES, patient_id, expected, **fields)
    emit(unit, facts.summary_changed(after), aggregate=f"clinical-summary/{patient_id}", version=after["version"])
    audit(unit, "clinical_summary.change", f"patient/{patient_id}", patient_id=patient_id)
    return after


async def enrol(unit: UnitOfWork, patient_id: str, expected: int, body: schemas.NewRemsEnrolment) -> Document:
    """Raises NotFound, VersionConflict."""
    await unit.collection(PATIENTS).get(patient_id)
    after = await save_current(unit, REMS, patient_id, expected, **body.model_dump())
    emit(unit, facts.rems_changed(after), aggregate=f"rems-enrolment/{patient_id}", version=after["version"])
    audit(unit, f"rems_enrolment.{body.status}", f"patient/{patient_id}", patient_id=patient_id)
    return after


async def flag_risk(unit: UnitOfWork, deps: Deps, patient_id: str, body: schemas.RiskFinding) -> Document:
    """A weaker finding leaves a standing flag as it is: only clearing lowers it. Raises NotFound."""
    now = unit.clock.clinical_now()
    await unit.collection(PATIENTS).get(patient_id)
    audit(unit, f"risk.flag.{body.level}", f"patient/{patient_id}", patient_id=patient_id)
    standing = await unit.collection(RISKS).find_one({"_id": patient_id})
    if standing is not None and not model.stronger(standing, body.level):
        return standing
    due = body.assessment_due_at or deps.risk.assessment_due(body.level, now)
    fields = body.model_dump() | {"assessment_due_at": due, "flagged": True, "at": now}
    after = await save_current(unit, RISKS, patient_id, None, **fields)
    event = SuicideRiskFlagged(**facts.risk_facts(after))
    emit(unit, event, aggregate=f"risk/{patient_id}", version=after["version"])
    return after


async def clear_risk(unit: UnitOfWork, patient_id: str, expected: int, body: schemas.RiskAssessment) -> Document:
    """Raises NotFound, PreconditionFailed, Conflict when nothing is flagged."""
    await unit.collection(PATIENTS).get(patient_id)
    model.clear_risk(model.at_version(await current(unit, RISKS, patient_id), expected))
    fields = body.model_dump() | {"assessment_due_at": None, "flagged": False, "at": unit.clock.clinical_now()}
    after = await save_current(unit, RISKS, patient_id, expected, **fields)
    event = SuicideRiskCleared(**facts.risk_facts(after))
    emit(unit, event, aggregate=f"risk/{patient_id}", version=after["version"])
    audit(unit, "risk.clear", f"patient/{patient_id}", patient_id=patient_id)
    return after
