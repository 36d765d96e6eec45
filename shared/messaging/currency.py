"""How old a projection is: when, in real time, its consumer had last read everything that a topic held.

Every member of a group says it for its own partitions, by asking the broker where each ends: with Kafka away nobody can,
and the times stand still.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo.errors import PyMongoError

from shared.messaging.consumer import Consumer
from shared.messaging.topics import Topic
from shared.persistence.mongo import Document, Mongo, Reader

log = logging.getLogger(__name__)

SOURCES = "sources"
EVERY_SECONDS = 5.0


class Currency:
    """One per worker."""

    def __init__(self, mongo: Mongo, consumers: Sequence[Consumer]) -> None:
        self._mongo, self._consumers = mongo, consumers
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what cannot be said now is said in the next round."""
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            for consumer in self._consumers:
                try:
                    await self._note(consumer)
                except PyMongoError as error:
                    log.warning("currency.failed", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)

    async def _note(self, consumer: Consumer) -> None:
        """The time is taken before the broker is asked: what comes after the question is not known yet."""
        at, read = self._mongo.clock.system_now(), dict[str, Document]()
        for place in await consumer.read_to_the_end():
            read.setdefault(place.topic, {})[f"partitions.{place.partition}"] = at
        for topic, change in read.items():
            await self._mongo.plumbing(SOURCES).update({"_id": topic}, {"$set": change}, upsert=True)


async def as_of(reader: Reader, sources: Mapping[str, Topic]) -> dict[str, datetime | None]:
    """By source the oldest time of its topic's partitions; None while one of them was never read to its end."""
    names = {topic.name for topic in sources.values()}
    rows = {
        row["_id"]: row["partitions"] for row in await reader.plumbing(SOURCES).find({"_id": {"$in": sorted(names)}})
    }
    return {source: _oldest(rows.get(topic.name, {}), topic) for source, topic in sources.items()}


def _oldest(partitions: Mapping[str, datetime], topic: Topic) -> datetime | None:
    return min(partitions.values()) if len(partitions) == topic.partitions else None
