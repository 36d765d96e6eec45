"""The plumbing's collections and their indexes, the same in every service's database."""

from pymongo import ASCENDING, IndexModel

INBOX_DAYS = 45
SENT_DAYS = 3
_DAY = 86_400

PLUMBING_INDEXES: dict[str, list[IndexModel]] = {
    "outbox": [
        IndexModel(
            [("lane", ASCENDING), ("_id", ASCENDING)], partialFilterExpression={"state": "pending"}, name="pending"
        ),
        IndexModel(
            [("state", ASCENDING), ("aggregate", ASCENDING)],
            partialFilterExpression={"state": "dead"},
            name="dead_rows",
        ),
        IndexModel([("sent_at", ASCENDING)], expireAfterSeconds=SENT_DAYS * _DAY, name="sent_ttl"),
        IndexModel(
            [("decided_at", ASCENDING)],
            expireAfterSeconds=INBOX_DAYS * _DAY,
            partialFilterExpression={"state": "dropped"},
            name="dropped_ttl",
        ),
        IndexModel([("subject_id", ASCENDING)], sparse=True, name="restricted"),
    ],
    "inbox": [IndexModel([("at", ASCENDING)], expireAfterSeconds=INBOX_DAYS * _DAY, name="ttl")],
    "dead_letters": [
        IndexModel([("state", ASCENDING), ("_id", ASCENDING)], name="open"),
        IndexModel([("closed_at", ASCENDING)], expireAfterSeconds=INBOX_DAYS * _DAY, name="closed_ttl"),
    ],
    "timers": [
        IndexModel([("clock", ASCENDING), ("priority", ASCENDING), ("due_at", ASCENDING)], name="due_by_priority"),
        IndexModel([("attempts", ASCENDING)], sparse=True, name="failing"),
        IndexModel([("clinic_id", ASCENDING), ("key", ASCENDING)], unique=True, name="key"),
    ],
    "leases": [],
    "trouble": [],
    "idempotency": [
        IndexModel([("at", ASCENDING)], expireAfterSeconds=_DAY, name="ttl"),
        IndexModel([("about", ASCENDING)], name="about"),
    ],
    "audit": [
        IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING), ("at", ASCENDING)], name="patient"),
        IndexModel([("at", ASCENDING), ("_id", ASCENDING)], name="in_time"),
    ],
    "audit_blocks": [IndexModel([("at", ASCENDING)], name="in_time")],
    "data_keys": [],
    "erased": [],
}
LISTED = [
    IndexModel([("clinic_id", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)], name="created"),
    IndexModel([("clinic_id", ASCENDING), ("updated_at", ASCENDING), ("_id", ASCENDING)], name="updated"),
]
"""For a collection that is listed whole: the two orders of shared/web/paging.py."""
INSERT_ONLY = frozenset({"audit", "audit_blocks"})
