"""The collections of notifications, their indexes, and the few queries that look across clinics."""

from datetime import datetime, timedelta

from pymongo import ASCENDING, IndexModel

from shared.messaging.topics import group_for
from shared.persistence.indexes import LISTED
from shared.persistence.migrations import AT_ONCE, MIGRATIONS, Migration
from shared.persistence.mongo import Document, Mongo, Reader, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.shapes import Shapes

CONTACTS, PREFERENCES, STAFF_CONTACTS, STAFF, ROTA = "contacts", "preferences", "staff_contacts", "staff", "rota"
MESSAGES, TASKS, ESCALATIONS, LINKS = "messages", "tasks", "escalations", "links"
APPOINTMENTS, SESSIONS, WATCH = "appointments", "sessions", "watch"
DEAD_LETTERS = "dead_letters"
AHEAD = timedelta(seconds=30)
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
        IndexModel(
            [("escalation_id", ASCENDING), ("state", ASCENDING)],
            partialFilterExpression={"escalation_id": {"$gt": ""}},
            name="of_escalation",
        ),
        *LISTED,
    ],
    TASKS: LISTED,
    ESCALATIONS: [*LISTED, IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING)], name="of_session")],
    LINKS: [_PURGE],
    APPOINTMENTS: [_PURGE],
    SESSIONS: [_PURGE],
    WATCH: [],
}


def is_due(row: Document, now: datetime) -> bool:
    """Whether nobody is sending a message and it need not wait.

    Written in our future, by a clock that has jumped back since: neither its wait nor its claim means anything. No claim
    lasts as long as one that ends beyond `AHEAD` would have to.
    """
    claimed = now < row["claimed_until"] <= now + AHEAD
    waits = row["next_at"] > now or claimed
    return row["state"] == "pending" and (not waits or row["updated_at"] > now + AHEAD)


async def due_messages(mongo: Mongo, urgent: bool, now: datetime, limit: int) -> list[Document]:
    """What waits to be sent in any clinic and nobody is sending, and what a clock far ahead of ours has written."""
    unclaimed = [{"claimed_until": {"$lte": now}}, {"claimed_until": {"$gt": now + AHEAD}}]
    waits_no_more = {"next_at": {"$lte": now}, "$or": unclaimed}
    query = {"state": "pending", "urgent": urgent, "$or": [waits_no_more, {"updated_at": {"$gt": now + AHEAD}}]}
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


def preferences_key(clinic_id: str, patient_id: str) -> str:
    return f"{clinic_id}:{patient_id}"


def _under_its_clinic(row: Document) -> Document:
    return {**row, "_id": preferences_key(row["clinic_id"], row["_id"]), "patient_id": row["_id"]}


async def _move_preferences(mongo: Mongo) -> int:
    """Where the clinic has one under the new key already, whatever either forbids stays forbidden."""

    async def work(unit: UnitOfWork) -> int:
        rows = unit.plumbing(PREFERENCES)
        earlier = await rows.find({"schema_version": {"$lt": 2}}, limit=AT_ONCE)
        present = await rows.find({"_id": {"$in": [row["_id"] for row in earlier]}})
        known = {row["_id"]: row for row in present}
        for row in earlier:
            other = known.get(row["_id"], row)
            both = {channel: row[channel] and other[channel] for channel in ("email", "sms")}
            await rows.put(row | both | {"version": max(row["version"], other["version"])})
            await rows.discard({"_id": row["patient_id"]})
        return len(earlier)

    return await mongo.run(system_scope("-", MIGRATIONS), work)


SHAPES = Shapes({PREFERENCES: [_under_its_clinic]})
CHANGES = [Migration("0001-preferences-by-clinic", _move_preferences)]
