"""Scheduling's collections and their indexes."""

from pymongo import ASCENDING, IndexModel

from shared.persistence.migrations import AT_ONCE, MIGRATIONS, Migration
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import system_scope

APPOINTMENTS, RESOURCES, CLAIMS, HOLDS = "appointments", "resources", "claims", "holds"
COURSES, PATIENTS, STAFF, CLINIC = "courses", "patients", "staff", "clinic"


def _by(*fields: str) -> IndexModel:
    return IndexModel([(name, ASCENDING) for name in ("clinic_id", *fields)], name="_".join(fields))


_LISTED = [_by("created_at", "_id"), _by("updated_at", "_id")]


INDEXES: dict[str, list[IndexModel]] = {
    APPOINTMENTS: [
        *_LISTED,
        _by("start"),
        _by("patient_id", "start"),
        _by("plan_id"),
        _by("follows_appointment"),
        IndexModel(
            [("clinic_id", ASCENDING), ("follows_session", ASCENDING)],
            unique=True,
            partialFilterExpression={"follows_session": {"$type": "string"}},
            name="one_integration_per_session",
        ),
    ],
    RESOURCES: [*_LISTED, _by("kind")],
    # A claim is a resource (or a patient) at one slot; its unique id is what makes a double booking impossible.
    CLAIMS: [IndexModel([("owner", ASCENDING)], name="owner")],
    HOLDS: [],
    COURSES: [_by("patient_id")],
    PATIENTS: [],
    STAFF: [*_LISTED],
    CLINIC: [],
}


def patient_claim(clinic_id: str, patient_id: str) -> str:
    """The patient as something that can be in one place only, as far as this clinic knows."""
    return f"patient:{clinic_id}:{patient_id}"


async def _move_claims(mongo: Mongo) -> int:
    """Of before the clinic was in the key. One that is taken by now stays with who took it."""

    async def work(unit: UnitOfWork) -> int:
        claims = unit.plumbing(CLAIMS)
        earlier = await claims.find({"_id": {"$regex": "^patient:[^:]+:[^:]+$"}}, limit=AT_ONCE)
        moved = {}
        for row in earlier:
            _, patient_id, slot = row["_id"].split(":")
            moved[f"{patient_claim(row['clinic_id'], patient_id)}:{slot}"] = row
        taken = {row["_id"] for row in await claims.find({"_id": {"$in": list(moved)}})}
        for name, row in moved.items():
            if name not in taken:
                await claims.put(row | {"_id": name})
            await claims.discard({"_id": row["_id"]})
        return len(earlier)

    return await mongo.run(system_scope("-", MIGRATIONS), work)


CHANGES = [Migration("0001-patient-claims-by-clinic", _move_claims)]
