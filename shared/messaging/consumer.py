"""Kafka -> handlers. One ordered worker per partition; offsets are committed by hand, after the transaction.

A partition in trouble waits by itself: the others go on, and heartbeats with them. Offsets of finished work are committed
together every 100 ms, so a kill repeats at most that much, and the inbox drops it.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

from shared.messaging.deadletters import UNKNOWN_TYPE
from shared.messaging.handling import BATCH_RECORDS, Pipeline
from shared.messaging.kafka import stop_bounded
from shared.messaging.outcomes import Outcome, Reject, Retry, Skip
from shared.messaging.precedence import Precedence
from shared.messaging.progress import ANSWER_SECONDS, LOOK_SECONDS, Progress, StandsStill
from shared.messaging.record import Record

log = logging.getLogger(__name__)

POLL_MS = 200
COMMIT_SECONDS = 0.1
BACKOFF_SECONDS, BACKOFF_MAX_SECONDS = 0.1, 10.0
FUSE_REJECTS = 50
QUEUE_FULL, QUEUE_LOW = 1000, 500  # what is left when it is resumed lasts as long as a fetch under way (kafka.FETCH_MS)
END_SECONDS = 3.0
REVOKE_SECONDS = 4.0  # to finish, and again to commit: less than the group waits for a member (kafka.REBALANCE_MS)
FAULT_TRIES, ALARM_FAULT_TRIES = 10, 3


class _Lane:
    """One assigned partition: what was fetched and not yet handled, and the task that handles it."""

    def __init__(self) -> None:
        self.queue: deque[ConsumerRecord] = deque()
        self.task: asyncio.Task[None] | None = None
        self.done: int | None = None
        self.committed: int | None = None
        self.closing = asyncio.Event()
        self.waiting_since: float | None = None
        self.tries = 0
        self.rejects = 0

    @property
    def closed(self) -> bool:
        return self.closing.is_set()

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """What the group says to one connection; one that was given up has no say over the partitions of the next."""

    def __init__(self, member: "Consumer", connection: AIOKafkaConsumer) -> None:
        self._member, self._connection = member, connection

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Work in hand is finished, bounded; what is queued belongs to the next owner."""
        if self._member.connection is self._connection:
            await self._member.close(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._member.connection is self._connection:
            self._member.open(assigned)


class Consumer:
    """One consumer group member. `fuse=False` on the alarm lane, where nothing may stop."""

    def __init__(
        self,
        pipeline: Pipeline,
        topics: Sequence[str],
        connect: Callable[[], AIOKafkaConsumer],
        precedence: Precedence | None = None,
        *,
        fuse: bool,
    ) -> None:
        self._pipeline, self._topics, self._connect, self._fuse = pipeline, list(topics), connect, fuse
        self._precedence, self._clock = precedence or Precedence(), pipeline.mongo.clock
        self._lanes: dict[TopicPartition, _Lane] = {}
        self.connection: AIOKafkaConsumer | None = None
        self._stop = asyncio.Event()
        self.joined = False
        self.blown = False
        self.last_attempt = self._clock.monotonic()

    @property
    def group(self) -> str:
        return self._pipeline.group

    def waiting_seconds(self) -> float:
        """How long the partition that waits longest has been held up by `Retry`."""
        since = [lane.waiting_since for lane in self._lanes.values() if lane.waiting_since is not None]
        return self._clock.monotonic() - min(since) if since else 0.0

    async def read_to_the_end(self) -> list[TopicPartition]:
        """The assigned partitions of which everything was handled that the broker holds now; none while it is away."""
        consumer, lanes = self.connection, dict(self._lanes)
        if consumer is None or not lanes:
            return []
        try:
            async with asyncio.timeout(END_SECONDS):
                ends = await consumer.end_offsets(list(lanes))
                return [
                    place for place, lane in lanes.items() if await self._stands(consumer, place, lane) >= ends[place]
                ]
        except (KafkaError, TimeoutError, OSError, AssertionError) as error:
            log.warning("consumer.end_unknown", extra={"group": self.group, "error": type(error).__name__})
            return []

    async def _stands(self, consumer: AIOKafkaConsumer, place: TopicPartition, lane: _Lane) -> int:
        """The offset up to which everything was handled; of what has not been fetched nothing was."""
        if lane.queue:
            return int(lane.queue[0].offset)
        return int(await consumer.position(place))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; starts anew when the broker or a rebalance took the session away."""
        self._stop = stop
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            if self.blown:
                await _pause(stop, 1.0)
                continue
            self.connection = consumer = self._connect()
            try:
                async with asyncio.timeout(20):
                    await consumer.start()
                consumer.subscribe(self._topics, listener=_Listener(self, consumer))
                await self._consume(consumer)
            except (KafkaError, TimeoutError, OSError, StandsStill) as error:
                log.warning("consumer.lost", extra={"group": self.group, "error": type(error).__name__})
                await _pause(stop, 1.0)
            finally:
                await self._leave(consumer)

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        committing = asyncio.create_task(self._commit_often(consumer))
        looking = asyncio.create_task(self._look_often(consumer))
        try:
            while not self._stop.is_set() and not self.blown:
                self.last_attempt = self._clock.monotonic()
                if looking.done():
                    looking.result()
                for place, rows in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                    self._take(consumer, place, rows)
        finally:
            committing.cancel()
            looking.cancel()
            await asyncio.gather(committing, looking, return_exceptions=True)

    def _take(self, consumer: AIOKafkaConsumer, place: TopicPartition, rows: list[ConsumerRecord]) -> None:
        lane = self._lanes.get(place)
        if lane is None:
            # Revoked while it was on its way. Were it still ours, nothing that was fetched may be passed over.
            with contextlib.suppress(IllegalStateError):
                consumer.seek(place, rows[0].offset)
            return
        lane.queue.extend(rows)
        if len(lane.queue) >= QUEUE_FULL:
            consumer.pause(place)
        if not lane.busy:
            lane.task = asyncio.create_task(self._work(consumer, place, lane))

    async def _work(self, consumer: AIOKafkaConsumer, place: TopicPartition, lane: _Lane) -> None:
        """Handle what is queued, in order; ends when nothing is left, the partition is taken away or `stop` is set."""
        pause = BACKOFF_SECONDS
        while self._goes_on(lane):
            self.last_attempt = self._clock.monotonic()
            async with self._turn():
                if not self._goes_on(lane):  # taken away while it waited for its turn
                    return
                again = await self._handle(lane)
            if again:
                lane.waiting_since = lane.waiting_since or self._clock.monotonic()
                await _pause(lane.closing, random.uniform(pause / 2, pause))  # noqa: S311 - jitter, not a secret
                pause = min(pause * 2, BACKOFF_MAX_SECONDS)
                continue
            lane.waiting_since, pause = None, BACKOFF_SECONDS
            if len(lane.queue) <= QUEUE_LOW and not lane.closed and place in consumer.assignment():
                consumer.resume(place)

    def _goes_on(self, lane: _Lane) -> bool:
        return bool(lane.queue) and not lane.closed and not self._stop.is_set() and not self.blown

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._fuse:
            async with self._precedence.bulk():
                yield
        else:
            with self._precedence.alarm():
                yield

    async def _handle(self, lane: _Lane) -> bool:
        """The next records of a lane; True when the first that is left must be tried again."""
        records = [_record(lane.queue[number]) for number in range(min(len(lane.queue), BATCH_RECORDS))]
        outcomes = await self._pipeline.handle_batch(records)
        last = outcomes[-1]
        if not isinstance(last, Retry):
            lane.tries = 0
            self._advance(lane, outcomes)
            return False
        lane.tries = lane.tries + 1 if len(outcomes) == 1 else 1
        self._advance(lane, outcomes[:-1])
        if not last.fault or lane.tries < (FAULT_TRIES if self._fuse else ALARM_FAULT_TRIES):
            return True
        kept = await self._pipeline.give_up(records[len(outcomes) - 1])
        if isinstance(kept, Retry):
            return True
        lane.tries = 0
        self._advance(lane, [kept])
        return False

    def _advance(self, lane: _Lane, outcomes: Sequence[Outcome | None]) -> None:
        for outcome in outcomes:
            lane.done = lane.queue.popleft().offset + 1
            self._burn(lane, outcome)

    def _burn(self, lane: _Lane, outcome: Outcome | None) -> None:
        """A run of rejects in one partition stops the consumer: better than emptying the topic into the dead letters.

        What says nothing of our own records neither counts nor ends the run: passed over, repeated, of a type unknown.
        """
        if outcome is None or outcome in (Skip("duplicate"), Reject(UNKNOWN_TYPE)):
            return
        lane.rejects = lane.rejects + 1 if isinstance(outcome, Reject) else 0
        if self._fuse and lane.rejects >= FUSE_REJECTS:
            log.error("consumer.fuse", extra={"group": self.group})
            self.blown = True

    async def _commit_often(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit(consumer, list(self._lanes))

    async def _look_often(self, consumer: AIOKafkaConsumer) -> None:
        progress = Progress(consumer, self._answers)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await progress.look([place for place, lane in self._lanes.items() if not lane.queue])

    async def _answers(self) -> bool:
        """Whether the broker does, on a connection of its own."""
        asking = self._connect()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asking.start()
        except (KafkaError, TimeoutError, OSError):
            return False
        finally:
            await stop_bounded(asking)
        return True

    async def _commit(self, consumer: AIOKafkaConsumer, places: Iterable[TopicPartition]) -> None:
        """What is finished. A failure costs a repetition, which the inbox drops (pitfalls 2.3, 8)."""
        lanes = {place: self._lanes[place] for place in places if place in self._lanes}
        offsets = {place: lane.done for place, lane in lanes.items() if lane.done not in (None, lane.committed)}
        if not offsets:
            return
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                await consumer.commit(offsets)
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("consumer.commit_failed", extra={"group": self.group, "error": type(error).__name__})
            return
        for place, offset in offsets.items():
            lanes[place].committed = offset

    def open(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            self._lanes[place] = _Lane()
        self.joined = True

    async def close(self, places: Iterable[TopicPartition]) -> None:
        """Work in hand is finished, bounded, and its offsets are committed."""
        lanes = {place: self._lanes[place] for place in places if place in self._lanes}
        for lane in lanes.values():
            lane.closing.set()
        busy = [lane.task for lane in lanes.values() if lane.task and lane.busy]
        if busy:
            await asyncio.wait(busy, timeout=REVOKE_SECONDS)
        if self.connection is not None:
            await self._commit(self.connection, lanes)
        for place in lanes:
            self._lanes.pop(place, None)

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        self.joined = False
        await self.close(list(self._lanes))
        self.connection = None
        await stop_bounded(consumer)


def _record(row: ConsumerRecord) -> Record:
    return Record(row.topic, row.partition, row.offset, row.key, row.value, row.headers)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
