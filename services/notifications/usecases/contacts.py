"""The contact directory: a projection of the restricted topic, re-encrypted for this service; and what people opted out of."""

from base64 import b64decode

from services.notifications import schemas
from services.notifications.store import CONTACTS, PREFERENCES
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.messaging import complete_waiting, shred_messages
from shared.errors import VersionConflict
from shared.events.intake import ContactRecord
from shared.events.notifications import ContactOptedOut
from shared.messaging import topics
from shared.messaging.deadletters import forget_letters
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.erased import forget_answers
from shared.persistence.mongo import Document, UnitOfWork


async def know_contact(unit: UnitOfWork, deps: Deps, record: ContactRecord) -> bool:
    """The highest version wins; False for an older one or an erased subject. What waited for it goes on.

    Raises KeyError, InvalidTag or ValueError when the record cannot be decrypted.
    """
    known = await unit.collection(CONTACTS).find_one({"_id": record.subject_id})
    if known and (known["erased"] or known["version"] >= record.version):
        return False
    contact = deps.transport.decrypt(record.subject_id, b64decode(record.sealed, validate=True))
    sealed = await deps.vault.encrypt(unit, record.subject_id, contact)
    row = {"_id": record.subject_id, "schema_version": 1, "version": record.version, "erased": False, "sealed": sealed}
    await unit.collection(CONTACTS).put(row)
    await complete_waiting(unit, deps, row)
    return True


async def forget_subject(unit: UnitOfWork, deps: Deps, subject_id: str) -> None:
    """Destroy the key: address and texts are unreadable from the commit on. The marker keeps later records out."""
    await deps.vault.shred(unit, subject_id)
    await shred_messages(unit, subject_id)
    await unit.collection(PREFERENCES).delete({"_id": subject_id})
    await forget_letters(unit, topics.CONTACTS, subject_id)
    await forget_answers(unit, subject_id)
    marker = {"_id": subject_id, "schema_version": 1, "version": 0, "erased": True, "sealed": None}
    await unit.collection(CONTACTS).put(marker)


async def preferences(unit: UnitOfWork, patient_id: str) -> Document:
    """Everything is allowed until somebody opted out; version 0 is what was never set."""
    audit(unit, "preferences.read", f"patient/{patient_id}", patient_id=patient_id)
    found = await unit.collection(PREFERENCES).find_one({"_id": patient_id})
    return found or {"_id": patient_id, "version": 0, "email": True, "sms": True}


async def set_preferences(unit: UnitOfWork, patient_id: str, body: schemas.Preferences, expected: int) -> Document:
    """Raises VersionConflict. An opt-out is told to intake."""
    before = await preferences(unit, patient_id)
    if before["version"] != expected:
        raise VersionConflict
    after = {"_id": patient_id, "schema_version": 1, "version": expected + 1, **body.model_dump()}
    if expected:
        await unit.collection(PREFERENCES).replace_versioned(after)
    else:
        await unit.collection(PREFERENCES).insert(after)
    for channel in ("email", "sms"):
        if before[channel] and not after[channel]:
            event = ContactOptedOut(patient_id=patient_id, channel="sms" if channel == "sms" else "email")
            emit(unit, event, aggregate=f"preferences/{patient_id}", version=after["version"])
    audit(unit, "preferences.set", f"patient/{patient_id}", patient_id=patient_id)
    return after
