"""State events: the present state of aggregates, sent again on the bulk lane so that a projection can be rebuilt.

And the records of a restricted topic, sent again under a new transport key so that the old one can be destroyed.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.events.envelope import Event
from shared.messaging.outbox import LAST_ORDINAL, emit
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope

BATCH = 500


@dataclass(frozen=True)
class Republish:
    """One kind of State event: where its documents are, and how one becomes the event of its aggregate."""

    collection: str
    event: Callable[[Document], Event]
    aggregate: Callable[[Document], str]


@dataclass(frozen=True)
class Rekeyed:
    """Documents whose record lies on a restricted topic; `transport_kid` of each names the key that it is under.

    `live` finds those that have one, `kid` is the key that they are to be under, `again` writes the record once more.
    """

    collection: str
    live: Mapping[str, Any]
    kid: str
    again: Callable[[UnitOfWork, Document], Awaitable[None]]

    def stale(self, after: str = "") -> Document:
        return {**self.live, "transport_kid": {"$ne": self.kid}, "_id": {"$gt": after}}


def _query(clinic_id: str | None) -> Document:
    return {"clinic_id": clinic_id} if clinic_id else {}


async def count(mongo: Mongo, kind: Republish, clinic_id: str | None) -> int:
    return await mongo.plumbing(kind.collection).count(_query(clinic_id))


async def republish_after(mongo: Mongo, kind: Republish, clinic_id: str | None, after: str) -> list[str]:
    """One transaction: the next 500 documents behind the id `after`; returns their ids, none at the end.

    Each event has its document's version and the highest ordinal: applied if not older, no action is triggered.
    """

    async def work(unit: UnitOfWork) -> list[str]:
        query = {**_query(clinic_id), "_id": {"$gt": after}}
        rows = await unit.plumbing(kind.collection).find(query, limit=BATCH)
        for row in rows:
            owner = unit.under(system_scope(row["clinic_id"], "republish"))
            emit(owner, kind.event(row), aggregate=kind.aggregate(row), version=row["version"], ordinal=LAST_ORDINAL)
        return [row["_id"] for row in rows]

    return await mongo.run(system_scope("-", "republish"), work)


async def rekey_after(mongo: Mongo, kind: Rekeyed, after: str) -> list[str]:
    """One transaction: the next 500 stale documents behind the id `after`; returns their ids, none at the end.

    May be stopped and begun again at any time. Each document is written to, so that an erasure at the same moment
    collides with it: no record leaves behind its tombstone.
    """

    async def work(unit: UnitOfWork) -> list[str]:
        rows = await unit.plumbing(kind.collection).find(kind.stale(after), limit=BATCH)
        for row in rows:
            await kind.again(unit.under(system_scope(row["clinic_id"], "rotate-keys")), row)
            await unit.plumbing(kind.collection).update({"_id": row["_id"]}, {"$set": {"transport_kid": kind.kid}})
        return [row["_id"] for row in rows]

    return await mongo.run(system_scope("-", "rotate-keys"), work)
