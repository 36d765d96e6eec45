"""The prescriber's decisions: the newest stands, the earlier ones stay as they were."""

from services.intake import model, schemas
from services.intake.facts import eligibility_facts
from services.intake.store import ELIGIBILITY, PATIENTS
from shared.events.envelope import Event
from shared.events.intake import EligibilityDetermined, EligibilityExpired
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer


async def determine(unit: UnitOfWork, patient_id: str, body: schemas.NewDecision) -> Document:
    """Raises NotFound, Invalid. `version` goes on from the decision before: it orders the decisions of a patient."""
    now = unit.clock.clinical_now()
    await unit.collection(PATIENTS).get(patient_id)
    model.check_decision(body.decision, body.reason_codes, body.valid_until, now)
    before = await unit.collection(ELIGIBILITY).find_one({"patient_id": patient_id, "standing": True})
    if before is not None:
        await unit.collection(ELIGIBILITY).update({"_id": before["_id"]}, {"$set": {"standing": False}})
    fields = {"patient_id": patient_id, "decided_at": now, "decided_by": unit.scope.actor.id, "standing": True}
    version = before["version"] + 1 if before else 1
    made = as_document(new_id(), now, **body.model_dump(), **fields, expired=False, version=version)
    await unit.collection(ELIGIBILITY).insert(made)
    await _set_timer(unit, made)
    _tell(unit, EligibilityDetermined, made)
    audit(unit, f"eligibility.{body.decision}", f"eligibility/{made['_id']}", patient_id=patient_id)
    return made


async def _set_timer(unit: UnitOfWork, made: Document) -> None:
    """One per patient: what a superseded decision waited for is moot."""
    key = f"eligibility:{made['patient_id']}"
    if made["valid_until"] is None:
        await cancel_timer(unit, key)
    else:
        await set_timer(unit, "eligibility_expires", key, made["valid_until"], {"eligibility_id": made["_id"]})


async def expire(unit: UnitOfWork, eligibility_id: str) -> None:
    found = await unit.collection(ELIGIBILITY).find_one({"_id": eligibility_id, "standing": True, "expired": False})
    if found is not None:
        after = model.changed(found, unit.clock.clinical_now(), expired=True)
        await unit.collection(ELIGIBILITY).replace_versioned(after)
        _tell(unit, EligibilityExpired, after)


def _tell(unit: UnitOfWork, kind: type[Event], row: Document) -> None:
    event = kind.model_validate(eligibility_facts(row))
    emit(unit, event, aggregate=f"eligibility/{row['patient_id']}", version=row["version"])
