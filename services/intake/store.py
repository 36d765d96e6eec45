"""Intake's collections and their indexes."""

from pymongo import ASCENDING, DESCENDING, IndexModel

INQUIRIES, PATIENTS, PLANS = "inquiries", "patients", "plans"

INDEXES: dict[str, list[IndexModel]] = {
    INQUIRIES: [IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest")],
    PATIENTS: [IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest")],
    PLANS: [IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING), ("_id", DESCENDING)], name="of_patient")],
}
