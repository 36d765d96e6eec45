"""Intake's collections, their indexes, and the one versioned write that several records share."""

from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.errors import VersionConflict
from shared.persistence.indexes import LISTED
from shared.persistence.mongo import Document, UnitOfWork, as_document

INQUIRIES, PATIENTS, PLANS, CLINICS = "inquiries", "patients", "plans", "clinics"
CONSENTS, ELIGIBILITY, SUMMARIES, REMS, RISKS = (
    "consents",
    "eligibility",
    "clinical_summaries",
    "rems_enrolments",
    "risks",
)
_OF_PATIENT = IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING), ("_id", DESCENDING)], name="of_patient")

INDEXES: dict[str, list[IndexModel]] = {
    INQUIRIES: LISTED,
    PATIENTS: LISTED,
    PLANS: [_OF_PATIENT],
    CLINICS: [],
    CONSENTS: [_OF_PATIENT],
    ELIGIBILITY: [
        _OF_PATIENT,
        IndexModel(
            [("clinic_id", ASCENDING), ("patient_id", ASCENDING)],
            unique=True,
            partialFilterExpression={"standing": True},
            name="one_stands",
        ),
    ],
    SUMMARIES: [],
    REMS: [],
    RISKS: [],
}


async def save_current(
    unit: UnitOfWork, collection: str, identifier: str, expected: int | None, **fields: Any
) -> Document:
    """Make or change the one document of a patient or a clinic, whose `_id` is theirs; version 0 is "none yet".

    Raises VersionConflict when `expected` is given and is not the version that is there.
    """
    known, now = await unit.collection(collection).find_one({"_id": identifier}), unit.clock.clinical_now()
    if expected is not None and expected != (known["version"] if known else 0):
        raise VersionConflict
    if known is None:
        made = as_document(identifier, now, **fields)
        await unit.collection(collection).insert(made)
        return made
    after = {**known, **fields, "version": known["version"] + 1, "updated_at": now}
    await unit.collection(collection).replace_versioned(after)
    return after
