"""What other services say of a patient, as far as booking rests on it: risk, consents, the last dose, erasure."""

from services.scheduling.store import PATIENTS
from shared.persistence.mongo import Document, UnitOfWork


async def lock(unit: UnitOfWork, patient_id: str) -> Document:
    """The patient's row, written to: a booking and a hold at the same moment collide here, and one sees the other."""
    found = await unit.collection(PATIENTS).find_one({"_id": patient_id})
    row = found or {
        "_id": patient_id,
        "schema_version": 1,
        "version": 0,
        "sequence": "",
        "time_zone": None,
        "risk": {"held": False, "sequence": ""},
        "consents": {},
        "last_dose_at": None,
        "erased": False,
    }
    return await save(unit, row)


async def save(unit: UnitOfWork, patient: Document, **fields: object) -> Document:
    after = {**patient, **fields, "version": patient["version"] + 1}
    await unit.collection(PATIENTS).put(after)
    return after


def holds(patient: Document, documents: set[str]) -> set[str]:
    """What holds dosing that rests on these documents; a revoked consent counts until the same document is signed again.

    A state that only later code knows neither holds nor cancels: the dose gate opens for a signed consent alone.
    """
    revoked = (_consented(patient, "revoked") - _consented(patient, "signed")) & documents
    return ({"risk"} if patient["risk"]["held"] else set()) | ({"consent_revoked"} if revoked else set())


def _consented(patient: Document, state: str) -> set[str]:
    return {consent["document"] for consent in patient["consents"].values() if consent["state"] == state}
