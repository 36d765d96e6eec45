"""Monitoring's collections, their indexes, and the few queries that look across clinics."""

from collections.abc import Collection, Sequence
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel

from services.monitoring.folding import EPOCH, reading_id
from services.monitoring.vitals import BY_NAME, MANUAL, counts_at
from shared.messaging.currency import SOURCES, as_of
from shared.messaging.outbox import OUTBOX
from shared.messaging.topics import BULK, INTAKE_ALARMS
from shared.persistence.indexes import LISTED
from shared.persistence.mongo import Document, Mongo, Reader, UnitOfWork

SESSIONS, ENTRIES, ENGINES, VITALS, ALARMS, PLANS = "sessions", "entries", "engines", "vitals", "alarms", "plans"
PROTOCOLS = "protocols"
GROUPS, KNOWN = "groups", "known"
ASSIGNMENTS, BACKLOGS, BUCKETS = "assignments", "backlogs", "buckets"
PROBES = "probes"

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
    PLANS: [IndexModel([("clinic_id", ASCENDING), ("patient_id", ASCENDING)], name="plans_of_patient")],
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
    ASSIGNMENTS: [
        IndexModel(
            [("clinic_id", ASCENDING), ("device", ASCENDING)],
            unique=True,
            partialFilterExpression={"open": True},
            name="one_session_per_device",
        ),
        IndexModel([("clinic_id", ASCENDING), ("device", ASCENDING), ("until", DESCENDING)], name="held"),
        IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING), ("_id", ASCENDING)], name="of_session"),
    ],
    BACKLOGS: [],
    PROBES: [],
    BUCKETS: [IndexModel([("clinic_id", ASCENDING), ("session_id", ASCENDING), ("start", DESCENDING)], name="chart")],
}


async def protocol_signed_last(reader: Reader, subject: str) -> Document | None:
    """The clinic's own for a route or kind; its time may be still to come."""
    return await reader.collection(PROTOCOLS).find_one({"subject": subject, "state": "signed"})


async def protocol_in_effect(reader: Reader, subject: str, now: datetime) -> Document | None:
    """Of the clinic's own versions for a route or kind whose time has come, the one that was signed last.

    What was signed before there was `effective_at` took effect with its signature.
    """
    newest = await protocol_signed_last(reader, subject)
    if newest is None or (newest.get("effective_at") or now) <= now:
        return newest
    former = {"subject": subject, "state": "superseded", "effective_at": {"$not": {"$gt": now}}}
    rows = await reader.collection(PROTOCOLS).find(former, sort=[("signed_at", -1)], limit=1)
    return rows[0] if rows else None


async def protocol_of_version(reader: Reader, version_id: str) -> Document | None:
    return await reader.collection(PROTOCOLS).find_one({"version_id": version_id})


_TOLD = {"intake": BULK["intake"], "intake_alarms": INTAKE_ALARMS, "scheduling": BULK["scheduling"]}


async def projections_as_of(reader: Reader) -> dict[str, datetime | None]:
    """By source, in real time: when everything that it had told was known here. None when that was never so."""
    return await as_of(reader, _TOLD)


async def sessions_with_engines(reader: Reader, ids: Sequence[str]) -> dict[str, tuple[Document, Document | None]]:
    """Session and engine by session, in one visit; of the session what readings need.

    Of any clinic: a batch of readings is from several, its caller compares.
    """
    engine = {"from": ENGINES, "localField": "_id", "foreignField": "_id", "as": "engine"}
    unread = {"$project": dict.fromkeys(("label_sealed", "readiness", "created_at", "updated_at"), 0)}
    stages: list[Document] = [{"$match": {"_id": {"$in": list(ids)}}}, unread, {"$lookup": engine}]
    found: dict[str, tuple[Document, Document | None]] = {}
    for row in await reader.plumbing(SESSIONS).aggregate(stages):
        engines = [reader.shapes.read(ENGINES, engine) for engine in row.pop("engine")]
        found[row["_id"]] = (reader.shapes.read(SESSIONS, row), engines[0] if engines else None)
    return found


async def readings_by_id(reader: Reader, ids: Sequence[str]) -> dict[str, Document]:
    rows = await reader.plumbing(VITALS).find({"_id": {"$in": list(ids)}})
    return {row["_id"]: row for row in rows}


async def holders_of(reader: Reader, devices: Collection[tuple[str, str]]) -> dict[tuple[str, str], Document]:
    """By clinic and device the session that it is assigned to now."""
    rows = await reader.plumbing(ASSIGNMENTS).find({**_of(devices), "open": True})
    return {(row["clinic_id"], row["device"]): row for row in rows}


async def holders_before(
    reader: Reader, devices: Collection[tuple[str, str]], until: datetime
) -> dict[tuple[str, str], list[Document]]:
    """By clinic and device the sessions that had it until then or later, newest first."""
    query = {**_of(devices), "open": False, "until": {"$gte": until}}
    found: dict[tuple[str, str], list[Document]] = {}
    for row in await reader.plumbing(ASSIGNMENTS).find(query, sort=[("since", -1)]):
        found.setdefault((row["clinic_id"], row["device"]), []).append(row)
    return found


async def heard_last(
    reader: Reader, devices: Collection[tuple[str, str]], since: datetime
) -> dict[tuple[str, str], Document]:
    """By clinic and device its newest reading to arrive since then, in whichever session that had it."""
    query = {**_of(devices), "$or": [{"open": True}, {"until": {"$gte": since}}]}
    held: dict[tuple[str, str], list[str]] = {}
    for row in await reader.plumbing(ASSIGNMENTS).find(query):
        held.setdefault((row["clinic_id"], row["device"]), []).append(row["session_id"])
    found: dict[tuple[str, str], Document] = {}
    for key, sessions in held.items():
        mine = {"session_id": {"$in": sorted(sessions)}, "device": key[1], "received_at": {"$gte": since}}
        for row in await reader.plumbing(VITALS).find(mine, sort=[("received_at", -1)], limit=1):
            found[key] = row
    return found


def _of(devices: Collection[tuple[str, str]]) -> Document:
    clinics, names = {clinic for clinic, _ in devices}, {name for _, name in devices}
    return {"clinic_id": {"$in": sorted(clinics)}, "device": {"$in": sorted(names)}}


async def readings_within(
    reader: Reader, session_id: str, sign: str, since: datetime, until: datetime
) -> list[Document]:
    """Of one sign, in the order in which they were taken; ends included. Not those that were folded."""
    rows = await reader.plumbing(VITALS).find(_taken_within(session_id, sign, since, until))
    return rows if since >= EPOCH else sorted(rows, key=lambda row: row["taken_at"])


def _taken_within(session_id: str, sign: str, since: datetime, until: datetime) -> Document:
    """A range of the ids; those of before 1970 run backwards before all others, and are told apart by their time."""
    last = f"{reading_id(session_id, sign, max(until, EPOCH), '')}\x7f"
    if since >= EPOCH:
        return {"_id": {"$gte": reading_id(session_id, sign, since, ""), "$lt": last}}
    return {"_id": {"$gte": f"{session_id}.{sign}.", "$lt": last}, "taken_at": {"$gte": since, "$lte": until}}


async def counting_within(
    reader: Reader, session_id: str, sign: str, since: datetime, until: datetime
) -> list[Document]:
    """Of one sign by the time that counts: that of the arrival where the device's clock was wrong. Not those that were folded."""
    rows = await readings_within(reader, session_id, sign, since, until)
    own = {"$gte": f"{session_id}.{sign}.", "$lt": f"{session_id}.{sign}.\x7f"}
    query = {"_id": own, "received_at": {"$gte": since, "$lte": until}, "clock_off_s": {"$exists": True}}
    return [row for row in rows if "clock_off_s" not in row] + await reader.plumbing(VITALS).find(query)


async def newest_of(reader: Reader, session_id: str, sign: str, until: datetime) -> Document | None:
    """The sign's newest believed reading that was taken by then: one seek, unless doubtful ones lie before it."""
    start, end = f"{session_id}.{sign}.", f"{reading_id(session_id, sign, until, '')}\x7f"
    query = {"_id": {"$gte": start, "$lt": end}, "quarantined": None, "moved_to": None, "decision": {"$ne": "artefact"}}
    rows = await reader.plumbing(VITALS).find(query, sort=[("_id", -1)], limit=1)
    return rows[0] if rows else None


async def newest_arrived(
    reader: Reader, session_id: str, sign: str, devices: Sequence[str], since: datetime, until: datetime
) -> Document | None:
    """The sign's newest believed reading by a wrong clock of these devices, by the time of its arrival."""
    query: Document = {
        "session_id": session_id,
        "device": {"$in": sorted(devices)},
        "sign": sign,
        "received_at": {"$gte": since, "$lte": until},
        "clock_off_s": {"$ne": None},
        "quarantined": None,
        "moved_to": None,
        "decision": {"$ne": "artefact"},
    }
    rows = await reader.plumbing(VITALS).find(query, sort=[("received_at", -1)], limit=1)
    return rows[0] if rows else None


def heard_from_oximeters(session_id: str, since: datetime) -> Document:
    """The filter of what devices, not hands, have told of SpO2 since then, by its arrival: their clocks may be wrong.

    Of this patient, believed and of now: neither an artefact nor a backlog is a sensor that is on the finger.
    """
    query: Document = {"session_id": session_id, "device": {"$ne": MANUAL}, "received_at": {"$gte": since}}
    query |= {"sign": BY_NAME["spo2"].loinc, "late": None}
    return query | {"quarantined": None, "moved_to": None, "decision": {"$ne": "artefact"}}


AT_ONCE = 4  # devices, or two values of one moment that nobody has decided between


async def highest_newest(reader: Reader, session_id: str, sign: str) -> tuple[datetime, float] | None:
    """The sign's newest believed value and its time: that of arrival where the device's clock is wrong.

    The highest where several are of one moment.
    """
    start = f"{session_id}.{sign}."
    every: Document = {"_id": {"$gte": start, "$lt": f"{start}\x7f"}}
    return max(await _newest_by_either_time(reader, every, every), default=None)


async def newest_within(reader: Reader, session_id: str, sign: str, since: datetime, until: datetime) -> list[float]:
    """The sign's believed values of the newest moment that counts within a span, ends included: of several nobody has decided."""
    taken = _taken_within(session_id, sign, since, until)
    arrived: Document = {"session_id": session_id, "sign": sign, "received_at": {"$gte": since, "$lte": until}}
    found = await _newest_by_either_time(reader, taken, arrived)
    newest = max((at for at, _ in found), default=None)
    return [value for at, value in found if at == newest]


async def _newest_by_either_time(reader: Reader, taken: Document, arrived: Document) -> list[tuple[datetime, float]]:
    """The newest believed ones of `taken` by a right clock and of `arrived` by a wrong one, each at the time that counts."""
    found: list[tuple[datetime, float]] = []
    for asked, wrong, order in ((taken, False, "_id"), (arrived, True, "received_at")):
        query = asked | {"clock_off_s": {"$exists": wrong}, "moved_to": None, "decision": {"$ne": "artefact"}}
        query |= {"$or": [{"quarantined": None}, {"decision": "confirmed"}]}
        rows = await reader.collection(VITALS).find(query, sort=[(order, -1)], limit=AT_ONCE)
        found += [(counts_at(row), row["value"]) for row in rows]
    return found


async def watched_sessions(mongo: Mongo, slots: Sequence[int] | None = None) -> list[Document]:
    """Every session in which something is still to be evaluated."""
    query: Document = {"watched": True}
    if slots is not None:
        query["slot"] = {"$in": list(slots)}
    return await mongo.plumbing(SESSIONS).find(query)


async def prove_writable(unit: UnitOfWork) -> None:
    """A write of no meaning: a store that can be read may still refuse every reading."""
    await unit.plumbing(PROBES).put({"_id": "memory", "at": unit.clock.system_now()})


UNSENT_ROWS = 1000  # the oldest: enough to tell that they wait


async def oldest_unsent_alarms(mongo: Mongo) -> dict[str, datetime]:
    """By clinic since when an event of the alarm lane has waited for the relay (real time)."""
    stages: list[Document] = [
        {"$match": {"state": "pending", "lane": "alarm"}},
        {"$sort": {"_id": 1}},
        {"$limit": UNSENT_ROWS},
        {"$group": {"_id": "$clinic_id", "since": {"$min": "$created_at"}}},
    ]
    return {row["_id"]: row["since"] for row in await mongo.plumbing(OUTBOX).aggregate(stages)}


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


CHARTED_READINGS = 100_000  # of a session: four signs at 1 Hz for seven hours; of more the newest


async def charted_readings(reader: Reader, session_id: str) -> list[Document]:
    """What a chart shows of every reading of a session that was not folded yet."""
    names = ("sign", "value", "taken_at", "received_at", "clock_off_s", "quarantined", "decision")
    stages: list[Document] = [
        {"$match": {"session_id": session_id, "moved_to": None}},
        {"$sort": {"taken_at": -1}},
        {"$limit": CHARTED_READINGS},
        {"$project": dict.fromkeys(names, 1)},
    ]
    return await reader.collection(VITALS).aggregate(stages)
