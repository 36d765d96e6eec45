"""Scheduling's collections and their indexes."""

from pymongo import ASCENDING, DESCENDING, IndexModel

APPOINTMENTS, RESOURCES, CLAIMS, PLANS = "appointments", "resources", "claims", "plans"

INDEXES: dict[str, list[IndexModel]] = {
    APPOINTMENTS: [
        IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest"),
        IndexModel(
            [("clinic_id", ASCENDING), ("follows_session", ASCENDING)],
            unique=True,
            partialFilterExpression={"follows_session": {"$type": "string"}},
            name="one_integration_per_session",
        ),
    ],
    RESOURCES: [IndexModel([("clinic_id", ASCENDING), ("kind", ASCENDING)], name="kind")],
    # A claim is a resource at one slot; its unique id is what makes a double booking impossible.
    CLAIMS: [IndexModel([("appointment_id", ASCENDING)], name="appointment")],
    PLANS: [IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING)], name="patient")],
}
