"""The contact directory: a projection of the restricted topic, re-encrypted for this service."""

from base64 import b64decode

from services.notifications.store import CONTACTS
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.messaging import complete_waiting, shred_messages
from services.notifications.usecases.preferences import forget_preferences
from shared.events.intake import ContactRecord
from shared.messaging import topics
from shared.messaging.deadletters import forget_letters
from shared.persistence.erased import forget_answers
from shared.persistence.mongo import UnitOfWork


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
    await forget_preferences(unit, subject_id)
    await forget_letters(unit, topics.CONTACTS, subject_id)
    await forget_answers(unit, subject_id)
    marker = {"_id": subject_id, "schema_version": 1, "version": 0, "erased": True, "sealed": None}
    await unit.collection(CONTACTS).put(marker)
