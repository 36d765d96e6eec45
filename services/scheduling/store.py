"""Scheduling's collections and their indexes."""

from pymongo import ASCENDING, IndexModel

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
