"""State events: the present state of aggregates, sent again on the bulk lane so that a projection can be rebuilt."""

from collections.abc import Callable
from dataclasses import dataclass

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
