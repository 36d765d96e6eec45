"""Which values the board shows of each sign, as far as is stored: for who opens it, and where a human decided about one."""

from collections.abc import Sequence

from services.monitoring.store import SESSIONS, VITALS
from services.monitoring.vitals import MANUAL, counts_at
from shared.persistence.mongo import Document, Mongo

RECENT_READINGS = 1200  # of a session: five minutes of four signs at 1 Hz, or a cuff every ten minutes beside three


async def recent_signs(mongo: Mongo, clinic_id: str, session_id: str | None = None) -> list[Document]:
    """Of every watched session of a clinic, or of one: per sign its newest reading, and the oldest of its recent ones.

    By the time that counts: what a wrong clock tells is found by its arrival.
    """
    mine: list[Document] = [
        {"$match": {"watched": True, "clinic_id": clinic_id, **({"_id": session_id} if session_id else {})}}
    ]
    found: dict[tuple[str, str], Document] = {}
    for stages in (_by_right_clocks(clinic_id), _by_wrong_clocks()):
        for row in await mongo.plumbing(SESSIONS).aggregate(mine + stages):
            key = (row["newest"]["session_id"], row["newest"]["sign"])
            known = found.setdefault(key, row)
            found[key] = {
                "oldest": min(known["oldest"], row["oldest"], key=counts_at),
                "newest": max(known["newest"], row["newest"], key=counts_at),
            }
    return list(found.values())


def _by_right_clocks(clinic_id: str) -> list[Document]:
    mine = [{"$eq": ["$clinic_id", clinic_id]}, {"$eq": ["$session_id", "$$session"]}]
    right = {"$match": {"$expr": {"$and": mine}, "clock_off_s": None}}
    return _looked_up({"session": "$_id"}, [right, {"$sort": {"taken_at": -1}}])


def _by_wrong_clocks() -> list[Document]:
    """Of the devices about whose clock an alarm stands, and of hands that wrote down a time to come."""
    same = {"$and": [{"$eq": ["$session_id", "$$session"]}, {"$eq": ["$device", "$$device"]}]}
    wrong = {"$match": {"$expr": same, "clock_off_s": {"$ne": None}}}
    standing = {"$map": {"input": {"$objectToArray": {"$ifNull": ["$technical", {}]}}, "in": "$$this.k"}}
    device = {"$arrayElemAt": [{"$split": ["$rule", ":"]}, 1]}
    return [
        {"$project": {"rule": {"$concatArrays": [[f"clock:{MANUAL}"], standing]}}},
        {"$unwind": "$rule"},
        {"$match": {"rule": {"$regex": "^clock:"}}},
        *_looked_up({"session": "$_id", "device": device}, [wrong, {"$sort": {"received_at": -1}}]),
    ]


def _looked_up(known: Document, newest_first: Sequence[Document]) -> list[Document]:
    """Per sign the newest and the oldest of the recent readings that count and are of now."""
    names = ("session_id", "sign", "value", "taken_at", "received_at", "clock_off_s")
    told = {name: f"${name}" for name in names}
    recent: list[Document] = [
        *newest_first,
        {"$limit": RECENT_READINGS},
        {"$match": {"moved_to": None, "late": None, "decision": {"$ne": "artefact"}}},
        {"$match": {"$or": [{"quarantined": None}, {"decision": "confirmed"}]}},
        {"$group": {"_id": "$sign", "newest": {"$first": told}, "oldest": {"$last": told}}},
    ]
    return [
        {"$lookup": {"from": VITALS, "let": known, "pipeline": recent, "as": "signs"}},
        {"$unwind": "$signs"},
        {"$replaceRoot": {"newRoot": "$signs"}},
    ]
