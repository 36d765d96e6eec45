"""Outbox -> Kafka. Selects by state, never by position: a row that commits late is still found.

One holder per lane and service (a lease), batches sent pipelined, acknowledged together, marked in one update while the
next is already being produced. The two lanes have a loop and a producer each: alarm rows never wait behind bulk rows.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTopicError, KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from shared.errors import LeaseLost, StillwaterError
from shared.events.envelope import Lane
from shared.messaging.handed import Handed
from shared.messaging.kafka import kill
from shared.messaging.marks import Marks
from shared.messaging.outbox import OUTBOX, replace_refused
from shared.messaging.precedence import Precedence
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, StoreFault, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import OUTBOX_DEAD, OUTBOX_SENT
from shared.telemetry.tracing import send_span

log = logging.getLogger(__name__)

BATCH_ROWS = 400  # reading one holds the interpreter for some milliseconds: so long an alarm waits as well
SPANNED_ROWS = 64
TURN_ROWS = 50  # two milliseconds: so long an alarm of the same process waits for the bulk rows' loop
SWEEP_SECONDS: Mapping[Lane, float] = {"alarm": 0.4, "bulk": 0.8}  # for hints that were lost
PRODUCE_SECONDS = 10.0
METADATA_SECONDS = 3.0
REST_SECONDS = 5.0
FAILED_SECONDS = 1.0
LEASE_SECONDS = 2.0  # a killed relay's rows move again within three seconds
_SCOPE = system_scope("-", "relay")
_FORBIDDEN = (TopicAuthorizationFailedError, InvalidTopicError)


class Relay:
    """Sends the pending rows of one lane while it holds the lane's lease."""

    def __init__(
        self,
        mongo: Mongo,
        lane: Lane,
        lease: Lease,
        open_producer: Callable[[], AIOKafkaProducer],
        precedence: Precedence | None = None,
    ) -> None:
        self._mongo, self._lane, self._lease, self._open = mongo, lane, lease, open_producer
        self._precedence = precedence or Precedence()
        self._producer: AIOKafkaProducer | None = None
        self._signal = asyncio.Event()
        self._handed = Handed(mongo.clock, BATCH_ROWS)
        self._marks = Marks(lambda identifiers: self._mark(identifiers, "sent"))
        self._held_back: list[str] = []
        self._rests: dict[tuple[str, str], float] = {}
        self._topics: set[str] = set()
        self._looked_for_dead = self._looked_at = float("-inf")
        self.last_attempt = mongo.clock.monotonic()
        mongo.wakers.append(self.wake)

    def wake(self, lane: str) -> None:
        """A hint that rows of this lane are waiting; losing it costs one sweep."""
        if lane == self._lane:
            self._signal.set()

    def stream_opened(self) -> None:
        self._handed.opened()
        self._signal.set()

    def hear(self, rows: Sequence[Document]) -> None:
        """What the change stream brings, of all lanes."""
        if mine := [row for row in rows if row["lane"] == self._lane and row["state"] == "pending"]:
            self._handed.add([self._mongo.shapes.read(OUTBOX, row) for row in mine])
            self._signal.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; survives a broker or a store that is away."""
        keeping = asyncio.create_task(self._lease.keep(stop))
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                if await self._leading():
                    await self._send_waiting(stop)
            except (StillwaterError, StoreFault, KafkaError, TimeoutError, OSError) as error:
                self._handed.doubt()
                log.warning("relay.failed", extra={"lane": self._lane, "error": type(error).__name__})
                await self._discard_producer()
                await _pause(stop, FAILED_SECONDS)
            await self._wait()
        with contextlib.suppress(StillwaterError, StoreFault):
            await self._marks.settle()
        await keeping
        await self._discard_producer()
        with contextlib.suppress(StillwaterError, StoreFault):
            await self._lease.release()

    async def _leading(self) -> bool:
        if self._lease.held():
            return True
        self._handed.doubt()
        return await self._lease.acquire()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._signal.wait(), SWEEP_SECONDS[self._lane])
        self._signal.clear()

    async def send_pending(self, stop: asyncio.Event | None = None) -> int:
        """Send and mark what waits; returns how many rows left. Raises what the broker or the store raised."""
        try:
            return await self._send_waiting(stop)
        finally:
            await self._marks.settle()

    async def _send_waiting(self, stop: asyncio.Event | None) -> int:
        """Send what waits; it is marked soon. Raises what the store raised at marks that were put off.

        Within one call a batch begins behind the one before, whose mark may still be on its way; what committed late
        below that point is found by the next call, which begins at the start.
        """
        self._marks.look()
        await self._look_for_dead()
        sent, behind = 0, ""
        while rows := await self._next(behind):
            with self._precedence.alarm() if self._lane == "alarm" else contextlib.nullcontext():
                sent += await self._send(_in_order(rows))
            behind = rows[-1]["_id"]
            if len(rows) < BATCH_ROWS or (stop is not None and stop.is_set()):
                break
        return sent

    async def _next(self, behind: str) -> list[Document]:
        """What was handed over, between two looks that are a sweep apart at most; else what a look finds."""
        self.last_attempt = self._mongo.clock.monotonic()
        await self._give_way()
        looked_lately = self.last_attempt < self._looked_at + SWEEP_SECONDS[self._lane]
        if not behind and looked_lately and (rows := self._handed.take()):
            return rows
        return await self._read(behind)

    async def _read(self, behind: str) -> list[Document]:
        self._looked_at = self._mongo.clock.monotonic()
        self._handed.looking()
        query: Document = {"state": "pending", "lane": self._lane, "_id": {"$gt": behind}}
        if not behind and (left := self._marks.named):
            query["_id"]["$nin"] = left
        resting = self._resting()
        for field, names in (("aggregate", [*self._held_back, *resting["aggregate"]]), ("topic", resting["topic"])):
            if names:
                query[field] = {"$nin": names}
        rows = await self._mongo.plumbing(OUTBOX).find(query, limit=BATCH_ROWS)
        self._handed.looked(all_of_it=len(rows) < BATCH_ROWS and not (self._held_back or self._rests))
        return rows

    def _resting(self) -> dict[str, list[str]]:
        """What is not read for a moment: a topic that is not there for us, aggregates whose partition did not answer."""
        now = self._mongo.clock.monotonic()
        self._rests = {name: until for name, until in self._rests.items() if until > now}
        return {kind: [name for found, name in self._rests if found == kind] for kind in ("aggregate", "topic")}

    def _rest(self, kind: str, name: str) -> None:
        self._rests[kind, name] = self._mongo.clock.monotonic() + REST_SECONDS
        log.warning("relay.rests", extra={"lane": self._lane, "code": kind})

    async def _send(self, rows: Sequence[Document]) -> int:
        """Send and mark; returns how many left. Raises LeaseLost, and what the store raised."""
        producer = await self._open_producer()
        known = {topic for topic in {row["topic"] for row in rows} if await self._has_topic(producer, topic)}
        there = [row for row in rows if row["topic"] in known]
        faults = await self._produce(there)
        if faults or len(there) < len(rows):
            self._handed.doubt()
        more = len(rows) == BATCH_ROWS
        if more:
            await self._marks.settle()
        gone = _up_to_its_fault(there, faults)
        if gone:
            self._handed.left(gone)
            self._marks.add(gone, at_once=more)
            OUTBOX_SENT.labels(self._lane).inc(len(gone))
        if not faults:
            return len(gone)
        # A record that was refused ruins the producer's sequence for its partition, and what was not acknowledged must
        # not leave later behind our back: the producer goes with both.
        await self._discard_producer()
        marked = set(gone)
        left = [row for row in there if row["_id"] not in marked]
        if any(_is_refusal(fault) for fault in faults.values()):
            await self._marks.settle()
            return len(gone) + await self._one_by_one(left)
        for row in left:
            self._rest("aggregate", row["aggregate"])
        return len(gone)

    async def _has_topic(self, producer: AIOKafkaProducer, topic: str) -> bool:
        """Whether the broker has this topic for us; one that is missing or forbidden holds up nobody else's rows."""
        if ("topic", topic) in self._rests:
            return False
        if topic not in self._topics:
            try:
                async with asyncio.timeout(METADATA_SECONDS):
                    await producer.partitions_for(topic)
            except (KafkaError, TimeoutError):
                self._rest("topic", topic)
                return False
            self._topics.add(topic)
        return True

    async def _look_for_dead(self) -> None:
        """Aggregates behind a dead row wait for a decision; on the alarm lane nothing is held back.

        Our own refusals are known at once; what an operator decided is seen within a second.
        """
        now = self._mongo.clock.monotonic()
        if self._lane == "alarm" or now - self._looked_for_dead < 1.0:
            return
        dead = await self._mongo.plumbing(OUTBOX).find({"state": "dead", "lane": self._lane})
        self._held_back = sorted({row["aggregate"] for row in dead})
        self._looked_for_dead = now

    async def _produce(self, rows: Sequence[Document]) -> dict[str, BaseException]:
        """The faults by row; what is not among them is acknowledged. Raises LeaseLost when the lease ran out meanwhile.

        In a backlog no row has a span of its own: its reader continues the origin's span.
        """
        producer = await self._open_producer()
        if not await self._leading():
            raise LeaseLost
        faults: dict[str, BaseException] = {}
        futures: dict[str, asyncio.Future[Any]] = {}
        with contextlib.ExitStack() as spans:
            with contextlib.suppress(TimeoutError):  # a full partition: what was not handed over is a fault below
                async with asyncio.timeout(PRODUCE_SECONDS):
                    for number, row in enumerate(rows):
                        if number % TURN_ROWS == TURN_ROWS - 1:
                            await self._give_way()  # a send that need not wait gives nobody else a turn
                        headers = [(name, item) for name, item in row["headers"]]
                        if len(rows) <= SPANNED_ROWS:
                            headers = spans.enter_context(send_span(row["topic"], headers))
                        try:
                            sent = await producer.send(row["topic"], row["value"], row["key"], headers=headers)
                            futures[row["_id"]] = sent
                        except KafkaError as error:
                            faults[row["_id"]] = error
            await self._acknowledged(futures.values())
        return {row["_id"]: fault for row in rows if (fault := _fault_of(futures.get(row["_id"])))} | faults

    async def _give_way(self) -> None:
        if self._lane == "bulk":
            await self._precedence.stand_back()
        else:
            await asyncio.sleep(0)

    async def _acknowledged(self, futures: Iterable[asyncio.Future[Any]]) -> None:
        """Wait, at most PRODUCE_SECONDS and never beyond the lease, whose keeper renews it meanwhile."""
        waiting, deadline = set(futures), self._mongo.clock.monotonic() + PRODUCE_SECONDS
        while waiting and (left := deadline - self._mongo.clock.monotonic()) > 0:
            if not self._lease.held():
                raise LeaseLost
            _, waiting = await asyncio.wait(waiting, timeout=min(left, self._lease.left()))

    async def _one_by_one(self, rows: Sequence[Document]) -> int:
        """After a refusal, with a new producer: only a row that is refused alone, for what it holds, is dead."""
        sent = 0
        for row in rows:
            if row["aggregate"] in self._held_back or ("topic", row["topic"]) in self._rests:
                continue
            faults = await self._produce([row])
            if not faults:
                await self._mark([row["_id"]], "sent")
                sent += 1
                continue
            await self._discard_producer()
            await self._refused(row, faults[row["_id"]])
        return sent

    async def _refused(self, row: Document, fault: BaseException) -> None:
        if isinstance(fault, _FORBIDDEN):
            self._rest("topic", row["topic"])
        elif not _is_refusal(fault):
            self._rest("aggregate", row["aggregate"])
        else:
            await self._mark([row["_id"]], "dead")
            if self._lane == "bulk":
                self._held_back.append(row["aggregate"])
            OUTBOX_DEAD.labels(self._lane).inc()
            log.error("relay.refused", extra={"event_id": row["_id"], "error": type(fault).__name__})

    async def _mark(self, identifiers: list[str], state: str) -> None:
        """`sent` is true whoever leads by now. A refused alarm is replaced in the transaction that marks it: people hear of it."""
        query = {"_id": {"$in": identifiers}, "state": "pending"}
        if state == "sent":
            change = {"$set": {"state": state, "sent_at": self._mongo.clock.system_now()}}
            await self._mongo.plumbing(OUTBOX).update_many(query, change)
            return

        async def mark(unit: UnitOfWork) -> None:
            refused = await unit.plumbing(OUTBOX).find(query)
            await unit.plumbing(OUTBOX).update_many(query, {"$set": {"state": state}})
            for row in refused if self._lane == "alarm" else ():
                replace_refused(unit, row)

        await self._mongo.run(_SCOPE, mark)

    async def _open_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = self._open()
            async with asyncio.timeout(PRODUCE_SECONDS):
                try:
                    await producer.start()
                except BaseException:
                    await kill(producer)
                    raise
            self._producer = producer
        return self._producer

    async def _discard_producer(self) -> None:
        producer, self._producer = self._producer, None
        self._topics.clear()
        if producer is not None:
            await kill(producer)


def _is_refusal(fault: BaseException) -> bool:
    """Whether the broker (or the client for it) will never take what was sent; the rest may pass."""
    return isinstance(fault, KafkaError) and not fault.retriable and not isinstance(fault, KafkaTimeoutError)


def _fault_of(sent: asyncio.Future[Any] | None) -> BaseException | None:
    return sent.exception() if sent is not None and sent.done() else TimeoutError()


def _up_to_its_fault(rows: Sequence[Document], faults: Mapping[str, BaseException]) -> list[str]:
    """What may be marked: per aggregate everything before its first fault; what follows is sent again, in order."""
    stopped: set[str] = set()
    gone: list[str] = []
    for row in rows:
        if row["_id"] in faults:
            stopped.add(row["aggregate"])
        elif row["aggregate"] not in stopped:
            gone.append(row["_id"])
    return gone


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
