"""Kafka -> handlers. One ordered worker per partition; the offset is committed by hand, after the transaction."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from shared.errors import StillwaterError
from shared.messaging.handling import Pipeline, Record
from shared.messaging.kafka import stop_bounded
from shared.messaging.outcomes import Reject
from shared.persistence.mongo import Mongo

log = logging.getLogger(__name__)

POLL_MS = 200
BACKOFF_MAX_SECONDS = 10.0
FUSE_REJECTS = 50


class FuseBlown(Exception):
    """A run of rejects: stopping is better than emptying the topic into the dead letters."""


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self) -> None:
        self.joined = False

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing to save: an offset is committed after each transaction and the inbox drops what is repeated."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:  # noqa: ARG002 - the name is aiokafka's
        self.joined = True


class Consumer:
    """One consumer group member. `fuse=False` on the alarm lane, where nothing may stop."""

    def __init__(
        self,
        mongo: Mongo,
        pipeline: Pipeline,
        topics: list[str],
        connect: Callable[[], AIOKafkaConsumer],
        *,
        fuse: bool,
    ) -> None:
        self._mongo, self._pipeline, self._topics, self._connect, self._fuse = mongo, pipeline, topics, connect, fuse
        self._assignment = _Assignment()
        self._rejects = 0
        self.last_attempt = mongo.clock.monotonic()

    @property
    def joined(self) -> bool:
        return self._assignment.joined

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; starts anew when the broker or a rebalance took the session away. Raises FuseBlown."""
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            consumer = self._connect()
            try:
                async with asyncio.timeout(20):
                    await consumer.start()
                consumer.subscribe(self._topics, listener=self._assignment)
                await self._consume(consumer, stop)
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("consumer.lost", extra={"group": self._pipeline.group, "error": type(error).__name__})
                await _pause(stop, 1.0)
            finally:
                self._assignment.joined = False
                await stop_bounded(consumer)

    async def _consume(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            if batches:
                await asyncio.gather(*(self._partition(consumer, place, rows, stop) for place, rows in batches.items()))

    async def _partition(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, rows: list[ConsumerRecord], stop: asyncio.Event
    ) -> None:
        for row in rows:
            if stop.is_set() or place not in consumer.assignment():
                return
            record = Record(row.topic, row.partition, row.offset, row.key, row.value, row.headers)
            if not await self._until_handled(record, stop):
                return
            await consumer.commit({place: row.offset + 1})

    async def _until_handled(self, record: Record, stop: asyncio.Event) -> bool:
        """Transient trouble waits here with jitter while heartbeats go on; False when told to stop first."""
        pause = 0.1
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                outcome = await self._pipeline.handle(record)
            except StillwaterError as error:
                log.warning("event.retry", extra={"code": error.code, "group": self._pipeline.group})
            except Exception as error:  # noqa: BLE001 - an unknown fault is tried again, never lost
                log.error("event.failed", extra={"error": type(error).__name__, "group": self._pipeline.group})
            else:
                self._count(outcome)
                return True
            await _pause(stop, random.uniform(pause / 2, pause))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, BACKOFF_MAX_SECONDS)
        return False

    def _count(self, outcome: object) -> None:
        counts = isinstance(outcome, Reject) and outcome.code != "type_unknown"
        self._rejects = self._rejects + 1 if counts else 0
        if self._fuse and self._rejects >= FUSE_REJECTS:
            raise FuseBlown


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
