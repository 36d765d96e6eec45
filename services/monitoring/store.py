"""Monitoring's collections, their indexes, and the few queries that look across clinics."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.messaging.currency import SOURCES, as_of
from shared.messaging.topics import BULK, INTAKE_ALARMS
from shared.persistence.indexes import LISTED
from shared.persistence.mongo import Document, Mongo, Reader

SESSIONS, ENTRIES, ENGINES, VITALS, ALARMS, PLANS = "sessions", "entries", "engines", "vitals", "alarms", "plans"
PROTOCOLS = "protocols"
GROUPS, KNOWN = "groups", "known"

INDEXES: dict[str, list[IndexModel]] = {
    SESSIONS: [
        *LISTED,
        IndexModel([("slot", ASCENDING)], partialFilterExpression={"watched": True}, name="watched"),
        IndexModel(
            [("clinic_id", ASCENDING), ("appointment_id", ASCENDING)],
            unique=True,
            partialFilterExpression={"appointment_id": {"$type": "string"}},
            name="one_session_per_appointment",
        ),
        IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING), ("_id", DESCENDING)], name="of_patient"),
        IndexModel(
            [("clinic_id", ASCENDING), ("group_id", ASCENDING), ("_id", ASCENDING)],
            partialFilterExpression={"group_id": {"$type": "string"}},
            name="of_group",
        ),
    ],
    ENTRIES: [
        IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING), ("_id", ASCENDING)], name="timeline"),
        IndexModel([("clinic_id", ASCENDING), ("kind", ASCENDING), ("occurred_at", ASCENDING)], name="of_kind"),
    ],
    GROUPS: [],
    KNOWN: [IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING)], name="known_of_patient")],
    SOURCES: [],
    ENGINES: [],
    VITALS: [
        IndexModel([("session_id", ASCENDING), ("device", ASCENDING), ("received_at", DESCENDING)], name="heard"),
        IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING), ("taken_at", DESCENDING)], name="chart"),
    ],
    ALARMS: [
        IndexModel(
            [("clinic_id", ASCENDING), ("session_id", ASCENDING), ("rule", ASCENDING)],
            unique=True,
            partialFilterExpression={"open": True},
            name="one_open_alarm_per_rule",
        ),
        *LISTED,
    ],
    PLANS: [],
    PROTOCOLS: [
        *LISTED,
        IndexModel(
            [("clinic_id", ASCENDING), ("subject", ASCENDING)],
            unique=True,
            partialFilterExpression={"state": "signed"},
            name="one_in_effect",
        ),
        IndexModel([("clinic_id", ASCENDING), ("version_id", ASCENDING)], unique=True, name="version"),
    ],
}


async def protocol_in_effect(reader: Reader, subject: str) -> Document | None:
    """The clinic's own signed version for a route or kind."""
    return await reader.collection(PROTOCOLS).find_one({"subject": subject, "state": "signed"})


async def protocol_of_version(reader: Reader, version_id: str) -> Document | None:
    return await reader.collection(PROTOCOLS).find_one({"version_id": version_id})


_TOLD = {"intake": BULK["intake"], "intake_alarms": INTAKE_ALARMS, "scheduling": BULK["scheduling"]}


async def projections_as_of(reader: Reader) -> dict[str, datetime | None]:
    """By source, in real time: when everything that it had told was known here. None when that was never so."""
    return await as_of(reader, _TOLD)


async def sessions_with_engines(reader: Reader, ids: Sequence[str]) -> dict[str, tuple[Document, Document | None]]:
    """Session and engine by session, in one visit. Of any clinic: a batch of readings is from several, its caller compares."""
    engine = {"from": ENGINES, "localField": "_id", "foreignField": "_id", "as": "engine"}
    stages: list[Document] = [{"$match": {"_id": {"$in": list(ids)}}}, {"$lookup": engine}]
    found: dict[str, tuple[Document, Document | None]] = {}
    for row in await reader.plumbing(SESSIONS).aggregate(stages):
        engines = [reader.shapes.read(ENGINES, engine) for engine in row.pop("engine")]
        found[row["_id"]] = (reader.shapes.read(SESSIONS, row), engines[0] if engines else None)
    return found


async def readings_by_id(reader: Reader, ids: Sequence[str]) -> dict[str, Document]:
    rows = await reader.plumbing(VITALS).find({"_id": {"$in": list(ids)}})
    return {row["_id"]: row for row in rows}


async def watched_sessions(mongo: Mongo, slots: Sequence[int] | None = None) -> list[Document]:
    """Every session in which something is still to be evaluated."""
    query: Document = {"watched": True}
    if slots is not None:
        query["slot"] = {"$in": list(slots)}
    return await mongo.plumbing(SESSIONS).find(query)


async def engines_of(mongo: Mongo, ids: Sequence[str]) -> dict[str, Document]:
    rows = await mongo.plumbing(ENGINES).find({"_id": {"$in": list(ids)}})
    return {row["_id"]: row for row in rows}


async def last_heard(reader: Reader | Mongo, ids: Sequence[str]) -> dict[str, dict[str, datetime]]:
    """Per session and device when its newest reading came in: one index seek per pair, however long the session is."""
    same = {"$and": [{"$eq": ["$session_id", "$$session"]}, {"$eq": ["$device", "$$device"]}]}
    newest: list[Document] = [{"$match": {"$expr": same}}, {"$sort": {"received_at": -1}}, {"$limit": 1}]
    stages: list[Document] = [
        {"$match": {"_id": {"$in": list(ids)}}},
        {"$project": {"devices": {"$objectToArray": "$devices"}}},
        {"$unwind": "$devices"},
        {
            "$lookup": {
                "from": VITALS,
                "let": {"session": "$_id", "device": "$devices.k"},
                "pipeline": [*newest, {"$project": {"received_at": 1}}],
                "as": "newest",
            }
        },
    ]
    found: dict[str, dict[str, datetime]] = {}
    for row in await reader.plumbing(SESSIONS).aggregate(stages) if ids else []:
        if row["newest"]:
            found.setdefault(row["_id"], {})[row["devices"]["k"]] = row["newest"][0]["received_at"]
    return found
