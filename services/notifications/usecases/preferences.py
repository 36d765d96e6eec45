"""What patients opted out of."""

from services.notifications import schemas
from services.notifications.store import PREFERENCES, preferences_key
from shared.errors import VersionConflict
from shared.events.notifications import ContactOptedOut
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork


async def allowed(unit: UnitOfWork, patient_id: str) -> Document:
    """Everything is allowed until somebody opted out; version 0 is what was never set.

    While code of before the clinic was in the key still runs there may be two rows: whatever one of them forbids is forbidden.
    """
    rows = await unit.collection(PREFERENCES).find(_of(unit, patient_id))
    version = max((row["version"] for row in rows), default=0)
    return {"version": version} | {channel: all(row[channel] for row in rows) for channel in ("email", "sms")}


async def read_preferences(unit: UnitOfWork, patient_id: str) -> Document:
    audit(unit, "preferences.read", f"patient/{patient_id}", patient_id=patient_id)
    return await allowed(unit, patient_id)


async def set_preferences(unit: UnitOfWork, patient_id: str, body: schemas.Preferences, expected: int) -> Document:
    """Raises VersionConflict. An opt-out is told to intake."""
    before = await read_preferences(unit, patient_id)
    if before["version"] != expected:
        raise VersionConflict
    await forget_preferences(unit, patient_id)
    key = preferences_key(unit.scope.clinic_id, patient_id)
    after = {"_id": key, "schema_version": 2, "version": expected + 1, "patient_id": patient_id, **body.model_dump()}
    await unit.collection(PREFERENCES).put(after)
    for channel in ("email", "sms"):
        if before[channel] and not after[channel]:
            event = ContactOptedOut(patient_id=patient_id, channel="sms" if channel == "sms" else "email")
            emit(unit, event, aggregate=f"preferences/{patient_id}", version=after["version"])
    audit(unit, "preferences.set", f"patient/{patient_id}", patient_id=patient_id)
    return after


async def forget_preferences(unit: UnitOfWork, patient_id: str) -> None:
    await unit.collection(PREFERENCES).discard(_of(unit, patient_id))


def _of(unit: UnitOfWork, patient_id: str) -> Document:
    return {"_id": {"$in": [preferences_key(unit.scope.clinic_id, patient_id), patient_id]}}
