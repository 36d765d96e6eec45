"""The collections of notifications, their indexes, and the few queries that look across clinics."""

from datetime import datetime

from pymongo import ASCENDING, IndexModel

from shared.messaging.topics import group_for
from shared.persistence.indexes import LISTED
from shared.persistence.mongo import Document, Mongo, Reader

CONTACTS, PREFERENCES, STAFF_CONTACTS, STAFF, ROTA = "contacts", "preferences", "staff_contacts", "staff", "rota"
MESSAGES, TASKS, ESCALATIONS, LINKS = "messages", "tasks", "escalations", "links"
APPOINTMENTS, SESSIONS, WATCH = "appointments", "sessions", "watch"
DEAD_LETTERS = "dead_letters"
_PURGE = IndexModel([("purge_at", ASCENDING)], expireAfterSeconds=0, name="ttl")

INDEXES: dict[str, list[IndexModel]] = {
    CONTACTS: [],
    PREFERENCES: [],
    STAFF_CONTACTS: [IndexModel([("clinic_id", ASCENDING)], name="clinic")],
    STAFF: [],
    ROTA: [],
    MESSAGES: [
        IndexModel(
            [("urgent", ASCENDING), ("next_at", ASCENDING)],
            partialFilterExpression={"state": "pending"},
            name="to_send",
        ),
        IndexModel([("clinic_id", ASCENDING), ("subject_id", ASCENDING), ("state", ASCENDING)], name="of_subject"),
        *LISTED,
    ],
    TASKS: LISTED,
    ESCALATIONS: [*LISTED, IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING)], name="of_session")],
    LINKS: [_PURGE],
    APPOINTMENTS: [_PURGE],
    SESSIONS: [_PURGE],
    WATCH: [],
}


async def due_messages(mongo: Mongo, urgent: bool, now: datetime, limit: int) -> list[Document]:
    """What waits to be sent in any clinic and nobody is sending."""
    query = {"state": "pending", "urgent": urgent, "next_at": {"$lte": now}, "claimed_until": {"$lte": now}}
    return await mongo.plumbing(MESSAGES).find(query, sort=[("next_at", 1)], limit=limit)


async def find_link(reader: Reader, hashed: str) -> Document | None:
    """A link names its clinic; nobody who opens one does."""
    return await reader.plumbing(LINKS).find_one({"_id": hashed})


async def unreadable_alarms(mongo: Mongo, since: datetime) -> list[Document]:
    """Dead letters of the alarm lane that nobody closed and nobody was paged for yet."""
    query = {
        "state": "open",
        "group": group_for("notifications", "alarm"),
        "at": {"$gte": since},
        "paged_at": None,
    }
    return await mongo.plumbing(DEAD_LETTERS).find(query, limit=50)


async def watched_clinics(mongo: Mongo) -> list[Document]:
    return await mongo.plumbing(WATCH).find({})


async def clinics_with_staff(mongo: Mongo) -> list[str]:
    """Clinics in which somebody can be paged."""
    rows = await mongo.plumbing(STAFF_CONTACTS).aggregate([{"$group": {"_id": "$clinic_id"}}])
    return sorted(row["_id"] for row in rows)
