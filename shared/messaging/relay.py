"""Outbox -> Kafka. Selects by state, never by position: a row that commits late is still found.

One holder per lane and service (a lease), batches sent pipelined, acknowledged together, marked in one update while the
next is already being produced. The two lanes have a loop and a producer each: alarm rows never wait behind bulk rows.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)

from shared.errors import StillwaterError
from shared.events.envelope import Lane
from shared.messaging.kafka import stop_bounded
from shared.messaging.outbox import OUTBOX, replace_refused
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import OUTBOX_DEAD, OUTBOX_SENT
from shared.telemetry.tracing import send_span

log = logging.getLogger(__name__)

BATCH_ROWS = 1000
SPANNED_ROWS = 64
SWEEP_SECONDS = 0.2
PRODUCE_SECONDS = 10.0
_SCOPE = system_scope("-", "relay")
_REFUSED = (MessageSizeTooLargeError, RecordTooLargeError, RecordListTooLargeError, UnknownTopicOrPartitionError)


class Relay:
    """Sends the pending rows of one lane while it holds the lane's lease."""

    def __init__(self, mongo: Mongo, lane: Lane, lease: Lease, open_producer: Callable[[], AIOKafkaProducer]) -> None:
        self._mongo, self._lane, self._lease, self._open = mongo, lane, lease, open_producer
        self._producer: AIOKafkaProducer | None = None
        self._signal = asyncio.Event()
        self._marking: asyncio.Task[None] | None = None
        self._held_back: list[str] = []
        self._looked_for_dead = float("-inf")
        self.last_attempt = mongo.clock.monotonic()
        mongo.wakers.append(self.wake)

    def wake(self) -> None:
        """A hint that rows are waiting; losing it costs one sweep."""
        self._signal.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; survives a broker or a store that is away."""
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                if await self._leading():
                    await self.send_pending(stop)
            except (StillwaterError, KafkaError, TimeoutError, OSError) as error:
                log.warning("relay.failed", extra={"lane": self._lane, "error": type(error).__name__})
                await self._discard_producer()
                await _pause(stop, 1.0)
            await self._wait()
        await self._discard_producer()
        with contextlib.suppress(StillwaterError):
            await self._lease.release()

    async def _leading(self) -> bool:
        return self._lease.held() or await self._lease.acquire()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._signal.wait(), SWEEP_SECONDS)
        self._signal.clear()

    async def send_pending(self, stop: asyncio.Event | None = None) -> int:
        """Send and mark what waits; returns how many rows left. Raises what the broker or the store raised.

        Within one call a batch begins behind the one before, whose mark may still be on its way; what committed late
        below that point is found by the next call, which begins at the start.
        """
        await self._look_for_dead()
        sent, behind = 0, ""
        try:
            while rows := await self._read(behind):
                sent += await self._send(_in_order(rows))
                behind = rows[-1]["_id"]
                if len(rows) < BATCH_ROWS or (stop is not None and stop.is_set()):
                    break
        finally:
            await self._marked()
        return sent

    async def _read(self, behind: str) -> list[Document]:
        self.last_attempt = self._mongo.clock.monotonic()
        query: Document = {"state": "pending", "lane": self._lane, "_id": {"$gt": behind}}
        if self._held_back:
            query["aggregate"] = {"$nin": self._held_back}
        rows = await self._mongo.plumbing(OUTBOX).find(query, limit=BATCH_ROWS)
        return rows if rows and await self._leading() else []

    async def _send(self, rows: Sequence[Document]) -> int:
        try:
            await self._produce(rows)
        except _REFUSED:
            await self._marked()
            await self._discard_producer()
            return await self._one_by_one(rows)
        await self._marked()
        self._marking = asyncio.create_task(self._mark([row["_id"] for row in rows], "sent"))
        OUTBOX_SENT.labels(self._lane).inc(len(rows))
        return len(rows)

    async def _marked(self) -> None:
        """Wait for the mark of the batch before; raises what the store raised: those rows are sent again."""
        marking, self._marking = self._marking, None
        if marking is not None:
            await marking

    async def _look_for_dead(self) -> None:
        """Aggregates behind a dead row wait for a decision; on the alarm lane nothing is held back.

        Our own refusals are known at once; what an operator decided is seen within a second.
        """
        now = self._mongo.clock.monotonic()
        if self._lane == "alarm" or now - self._looked_for_dead < 1.0:
            return
        dead = await self._mongo.plumbing(OUTBOX).find({"state": "dead"}, limit=BATCH_ROWS)
        self._held_back = sorted({row["aggregate"] for row in dead if row["lane"] == self._lane})
        self._looked_for_dead = now

    async def _produce(self, rows: Sequence[Document]) -> None:
        """Acknowledged together. In a backlog no row has a span of its own: its reader continues the origin's span."""
        producer = await self._open_producer()
        async with asyncio.timeout(PRODUCE_SECONDS):
            with contextlib.ExitStack() as spans:
                futures = []
                for row in rows:
                    headers = [(name, item) for name, item in row["headers"]]
                    if len(rows) <= SPANNED_ROWS:
                        headers = spans.enter_context(send_span(row["topic"], headers))
                    futures.append(await producer.send(row["topic"], row["value"], row["key"], headers=headers))
                await asyncio.gather(*futures)

    async def _one_by_one(self, rows: Sequence[Document]) -> int:
        """After a refusal, with a new producer: only a row that is refused alone is dead."""
        sent = 0
        for row in rows:
            if row["aggregate"] in self._held_back:
                continue
            try:
                await self._produce([row])
            except _REFUSED as error:
                await self._discard_producer()
                await self._mark([row["_id"]], "dead")
                if self._lane == "bulk":
                    self._held_back.append(row["aggregate"])
                OUTBOX_DEAD.labels(self._lane).inc()
                log.error("relay.refused", extra={"event_id": row["_id"], "error": type(error).__name__})
                continue
            await self._mark([row["_id"]], "sent")
            sent += 1
        return sent

    async def _mark(self, identifiers: list[str], state: str) -> None:
        """A refused alarm is replaced in the transaction that marks it: people hear of it all the same."""

        async def mark(unit: UnitOfWork) -> None:
            change = {"$set": {"state": state, "sent_at": unit.clock.system_now() if state == "sent" else None}}
            await unit.plumbing(OUTBOX).update_many({"_id": {"$in": identifiers}, "state": "pending"}, change)
            if state == "dead" and self._lane == "alarm":
                for row in await unit.plumbing(OUTBOX).find({"_id": {"$in": identifiers}}):
                    replace_refused(unit, row)

        await self._mongo.run(_SCOPE, mark)

    async def _open_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = self._open()
            async with asyncio.timeout(PRODUCE_SECONDS):
                try:
                    await producer.start()
                except BaseException:
                    await stop_bounded(producer)
                    raise
            self._producer = producer
        return self._producer

    async def _discard_producer(self) -> None:
        """A refused record ruins the producer's sequence for its partition, so the producer goes with it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_bounded(producer)


def _in_order(rows: list[Document]) -> list[Document]:
    """By id, and per aggregate by sequence: two hosts' clocks may have made ids in another order than the versions."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row["aggregate"], []).append(place)
    ordered = list(rows)
    for held in places.values():
        if len(held) > 1:
            same = sorted((rows[place] for place in held), key=lambda row: row["sequence"])
            for place, row in zip(held, same, strict=True):
                ordered[place] = row
    return ordered


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
