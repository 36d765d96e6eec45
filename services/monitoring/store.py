"""Monitoring's collections and their indexes."""

from pymongo import ASCENDING, DESCENDING, IndexModel

SESSIONS, ENGINES, VITALS, ALARMS, PLANS = "sessions", "engines", "vitals", "alarms", "plans"

INDEXES: dict[str, list[IndexModel]] = {
    SESSIONS: [
        IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest"),
        IndexModel(
            [("clinic_id", ASCENDING), ("appointment_id", ASCENDING)],
            unique=True,
            partialFilterExpression={"appointment_id": {"$type": "string"}},
            name="one_session_per_appointment",
        ),
    ],
    ENGINES: [],
    VITALS: [
        IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING), ("taken_at", DESCENDING)], name="session")
    ],
    ALARMS: [
        IndexModel(
            [("clinic_id", ASCENDING), ("session_id", ASCENDING), ("rule", ASCENDING)],
            unique=True,
            partialFilterExpression={"open": True},
            name="one_open_alarm_per_rule",
        ),
        IndexModel([("clinic_id", ASCENDING), ("_id", DESCENDING)], name="newest"),
    ],
    PLANS: [],
}
