"""Consents: signed, revoked, expired."""

from services.intake import model, schemas
from services.intake.facts import consent_facts
from services.intake.store import CONSENTS, PATIENTS
from services.intake.usecases.deps import Deps
from shared.events.envelope import Event
from shared.events.intake import ConsentExpired, ConsentRevoked, ConsentSigned
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer


async def sign(unit: UnitOfWork, deps: Deps, patient_id: str, body: schemas.NewConsent) -> Document:
    """Raises NotFound, Invalid."""
    now = unit.clock.clinical_now()
    await unit.collection(PATIENTS).get(patient_id)
    signed_at = body.signed_at or now
    until = model.consent_valid_until(deps.consents, body.document, signed_at, body.valid_until, now)
    fields = body.model_dump() | {"signed_at": signed_at, "valid_until": until}
    consent = as_document(new_id(), now, patient_id=patient_id, state="signed", reason_code=None, **fields)
    await unit.collection(CONSENTS).insert(consent)
    if until is not None:
        payload = {"consent_id": consent["_id"]}
        await set_timer(unit, "consent_expires", f"consent:{consent['_id']}", until, payload)
    _tell(unit, ConsentSigned, consent)
    audit(unit, "consent.sign", f"consent/{consent['_id']}", patient_id=patient_id)
    return consent


async def revoke(unit: UnitOfWork, patient_id: str, consent_id: str, reason_code: str) -> Document:
    """The agreement to a document is withdrawn, so every signature of it that still stands goes with this one.

    Idempotent by state. Raises NotFound, and Conflict when it has expired.
    """
    consent = await of_patient(unit, patient_id, consent_id)
    if consent["state"] == "revoked":
        return consent
    after = await _revoke(unit, consent, reason_code)
    same = {"patient_id": patient_id, "document": consent["document"], "state": "signed"}
    for other in await unit.collection(CONSENTS).find(same):
        await _revoke(unit, other, reason_code)
    return after


async def _revoke(unit: UnitOfWork, consent: Document, reason_code: str) -> Document:
    after = model.revoke_consent(consent, unit.clock.clinical_now(), reason_code)
    await unit.collection(CONSENTS).replace_versioned(after)
    await cancel_timer(unit, f"consent:{after['_id']}")
    _tell(unit, ConsentRevoked, after)
    audit(unit, "consent.revoke", f"consent/{after['_id']}", patient_id=after["patient_id"])
    return after


async def expire(unit: UnitOfWork, consent_id: str) -> None:
    consent = await unit.collection(CONSENTS).find_one({"_id": consent_id})
    after = model.expire_consent(consent, unit.clock.clinical_now()) if consent else None
    if after is not None:
        await unit.collection(CONSENTS).replace_versioned(after)
        _tell(unit, ConsentExpired, after)


async def of_patient(unit: UnitOfWork, patient_id: str, consent_id: str) -> Document:
    """Raises NotFound, for another patient's consent too."""
    await unit.collection(PATIENTS).get(patient_id)
    found = await unit.collection(CONSENTS).get(consent_id)
    return model.belongs(found, patient_id)


def _tell(unit: UnitOfWork, kind: type[Event], consent: Document) -> None:
    event = kind.model_validate(consent_facts(consent))
    emit(unit, event, aggregate=f"consent/{consent['_id']}", version=consent["version"])
