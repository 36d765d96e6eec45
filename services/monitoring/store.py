"""Monitoring's collections, their indexes, and the few queries that look across clinics."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.persistence.indexes import LISTED
from shared.persistence.mongo import Document, Mongo, Reader

SESSIONS, ENTRIES, ENGINES, VITALS, ALARMS, PLANS = "sessions", "entries", "engines", "vitals", "alarms", "plans"

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
    ],
    ENTRIES: [IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING), ("_id", ASCENDING)], name="timeline")],
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
}


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


async def open_alarms(mongo: Mongo, clinics: Sequence[str]) -> list[Document]:
    return await mongo.plumbing(ALARMS).find({"clinic_id": {"$in": list(clinics)}, "open": True})


async def vault_keys(reader: Reader, of_subjects: Sequence[Document]) -> list[Document]:
    """The keys of several subjects (`Vault.keys_of`) in one visit."""
    return await reader.plumbing("data_keys").find({"$or": list(of_subjects)})


RECENT_READINGS = 1200  # of a session: five minutes of four signs at 1 Hz, or a cuff every ten minutes beside three


async def recent_signs(mongo: Mongo, clinic_id: str) -> list[Document]:
    """Of every watched session of a clinic: per sign its newest reading, and the oldest of its recent ones."""
    mine = [{"$eq": ["$clinic_id", clinic_id]}, {"$eq": ["$session_id", "$$session"]}]
    told = {name: f"${name}" for name in ("session_id", "sign", "value", "taken_at", "received_at")}
    recent: list[Document] = [
        {"$match": {"$expr": {"$and": mine}}},
        {"$sort": {"taken_at": -1}},
        {"$limit": RECENT_READINGS},
        {"$match": {"quarantined": None}},
        {"$group": {"_id": "$sign", "newest": {"$first": told}, "oldest": {"$last": told}}},
    ]
    stages: list[Document] = [
        {"$match": {"watched": True, "clinic_id": clinic_id}},
        {"$lookup": {"from": VITALS, "let": {"session": "$_id"}, "pipeline": recent, "as": "signs"}},
        {"$unwind": "$signs"},
        {"$replaceRoot": {"newRoot": "$signs"}},
    ]
    return await mongo.plumbing(SESSIONS).aggregate(stages)


CHARTED_READINGS = 100_000  # of a session: four signs at 1 Hz for seven hours; of more the newest


async def charted_readings(reader: Reader, session_id: str) -> list[Document]:
    """What a chart shows of every reading of a session."""
    told = dict.fromkeys(("sign", "value", "taken_at", "quarantined"), 1)
    stages: list[Document] = [
        {"$match": {"session_id": session_id}},
        {"$sort": {"taken_at": -1}},
        {"$limit": CHARTED_READINGS},
        {"$project": told},
    ]
    return await reader.collection(VITALS).aggregate(stages)
