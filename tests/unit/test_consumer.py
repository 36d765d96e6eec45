"""How a member goes about its partition, whatever its handlers answer: at once, in batches, with pauses, and alive."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from shared.clock import ManualClock
from shared.loops import Loop, Loops
from shared.messaging import consumer as consumers
from shared.messaging import precedence
from shared.messaging.consumer import (
    BACKOFF_MAX_SECONDS,
    BACKOFF_SECONDS,
    FUSE_REJECTS,
    QUEUE_FULL,
    QUEUE_LOW,
    Consumer,
)
from shared.messaging.handling import BATCH_RECORDS
from shared.messaging.outcomes import Done, Outcome, Reject, Retry
from shared.messaging.precedence import Precedence
from shared.messaging.record import Record
from tests.support.eventually import a_turn, eventually

PLACE = TopicPartition("topic", 0)
PLACES = (PLACE, TopicPartition("topic", 1))
FETCHED = 100


class Connection:
    """A member's connection that has one partition, and gives out at one fetch all that lies there."""

    def __init__(self, waiting: int = 0) -> None:
        self.rows = [self.row(offset) for offset in range(waiting)]
        self.fetches = 0

    @staticmethod
    def row(offset: int) -> Any:
        return SimpleNamespace(topic=PLACE.topic, partition=0, offset=offset, key=b"k", value=b"{}", headers=())

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def commit(self, offsets: Any) -> None: ...

    def subscribe(self, _: Sequence[str], listener: Any) -> None:
        self._listener = listener

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    def resume(self, place: TopicPartition) -> None: ...

    async def getmany(self, **_: int) -> dict[TopicPartition, list[Any]]:
        """At the first fetch the group gives the partition."""
        if not self.fetches:
            await self._listener.on_partitions_assigned({PLACE})
        self.fetches += 1
        fetched, self.rows = self.rows, []
        await a_turn()
        return {PLACE: fetched} if fetched else {}


class Broker(Connection):
    """Two partitions; of each that is not paused a fetch gives out the next records, as fast as it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = set[TopicPartition]()
        self.resumed = list[TopicPartition]()
        self._next = dict.fromkeys(PLACES, 0)

    def pause(self, place: TopicPartition) -> None:
        self.paused.add(place)

    def resume(self, place: TopicPartition) -> None:
        if place in self.paused:
            self.paused.discard(place)
            self.resumed.append(place)

    async def getmany(self, **_: int) -> dict[TopicPartition, list[Any]]:
        if not self.fetches:
            await self._listener.on_partitions_assigned(set(PLACES))
        self.fetches += 1
        await a_turn()
        return {place: [self._row(place) for _ in range(FETCHED)] for place in set(PLACES) - self.paused}

    def _row(self, place: TopicPartition) -> Any:
        self._next[place] += 1
        row = self.row(self._next[place] - 1)
        row.partition = place.partition
        return row


class Answers:
    """A pipeline that answers by the record's offset, and remembers which records it was given together."""

    group = "group"

    def __init__(self, answer: Callable[[int], Outcome]) -> None:
        self.mongo = SimpleNamespace(clock=ManualClock(datetime(2026, 1, 1, 12, tzinfo=UTC)))
        self.batches: list[int] = []
        self._answer = answer

    @property
    def handled(self) -> int:
        return sum(self.batches)

    async def handle_batch(self, records: Sequence[Record]) -> list[Outcome]:
        self.batches.append(len(records))
        outcomes = [self._answer(record.offset) for record in records]
        retried = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Retry)]
        return outcomes[: retried[0] + 1] if retried else outcomes


@asynccontextmanager
async def member(
    connection: Any, pipeline: Any, first: Precedence | None = None, *, fuse: bool = False
) -> AsyncIterator[Consumer]:
    made, stop = Consumer(pipeline, [PLACE.topic], lambda: connection, first, fuse=fuse), asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    yield made
    stop.set()
    await running


async def test_a_record_that_comes_alone_is_handled_in_the_turn_of_its_fetch() -> None:
    class Idle(Connection):
        """Asked for more, it looks when the tasks that were ready have taken one step each."""

        handled_by_then: int | None = None

        async def getmany(self, **_: int) -> dict[TopicPartition, list[Any]]:
            if self.fetches == 1:
                asyncio.get_running_loop().call_soon(self._look)
            return await super().getmany()

        def _look(self) -> None:
            self.handled_by_then = pipeline.handled

    connection, pipeline = Idle(waiting=1), Answers(lambda _: Done())

    async def asked_for_more() -> bool:
        return connection.handled_by_then is not None

    async with member(connection, pipeline):
        await eventually(asked_for_more)
    assert connection.handled_by_then == 1


@pytest.mark.parametrize("lane", ["bulk", "alarm"])
async def test_records_of_the_bulk_lane_wait_for_an_alarm_in_hand(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "STAND_BACK_SECONDS", 60.0)
    connection, pipeline, first = Connection(waiting=1), Answers(lambda _: Done()), Precedence()

    async def asked_for_more() -> bool:
        return connection.fetches > 3

    async def handled() -> bool:
        return pipeline.handled == 1

    async with member(connection, pipeline, first, fuse=lane == "bulk"):
        with first.alarm():
            await eventually(asked_for_more)
            assert pipeline.handled == (0 if lane == "bulk" else 1)
        await eventually(handled)


async def test_a_partition_that_is_taken_away_while_its_records_wait_for_an_alarm_begins_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precedence, "STAND_BACK_SECONDS", 60.0)
    connection, pipeline, first = Connection(waiting=1), Answers(lambda _: Done()), Precedence()

    async def asked_for_more() -> bool:
        return connection.fetches > 3

    async with member(connection, pipeline, first, fuse=True) as made:
        with first.alarm():
            await eventually(asked_for_more)
            closing = asyncio.create_task(made.close({PLACE}))
            await a_turn()
        await closing
        assert pipeline.handled == 0


async def test_records_that_wait_are_handled_twenty_together() -> None:
    pipeline = Answers(lambda _: Done())

    async def all_handled() -> bool:
        return pipeline.handled == 50

    async with member(Connection(waiting=50), pipeline):
        await eventually(all_handled)
    assert BATCH_RECORDS == 20
    assert pipeline.batches == [20, 20, 10]


async def test_pauses_of_a_partition_in_trouble_grow_to_a_bound_and_are_never_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def pause(closing: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 30:
            await closing.wait()

    monkeypatch.setattr(consumers, "_pause", pause)

    async def many() -> bool:
        return len(pauses) == 30

    async with member(Connection(waiting=1), Answers(lambda _: Retry("provider_away"))):
        await eventually(many)
    bounds = [min(BACKOFF_SECONDS * 2**number, BACKOFF_MAX_SECONDS) for number in range(len(pauses))]
    assert bounds[0] < bounds[-1] == 10
    assert all(bound / 2 <= seconds <= bound for seconds, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses)) == len(pauses)


async def test_the_alarm_lane_goes_on_behind_any_number_of_rejects() -> None:
    bad = FUSE_REJECTS + 30
    pipeline = Answers(lambda offset: Done() if offset == bad else Reject("never"))

    async def all_handled() -> bool:
        return pipeline.handled == bad + 1

    async with member(Connection(waiting=bad + 1), pipeline, fuse=False) as alarms:
        await eventually(all_handled)
        assert not alarms.blown


async def test_a_member_whose_partition_waits_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its next try, which is not seen here: that it goes on asking for records is what counts."""
    monkeypatch.setattr(consumers, "BACKOFF_SECONDS", 600.0)
    connection, pipeline = Connection(waiting=1), Answers(lambda _: Retry("provider_away"))
    clock = pipeline.mongo.clock

    async def fetched(number: int) -> bool:
        return connection.fetches >= number

    async def waits() -> bool:
        clock.advance(0.01)
        return consumer.waiting_seconds() > 0

    async with member(connection, pipeline) as consumer:
        loops = Loops(clock, {"consumer": Loop.of(consumer, within_s=5)})
        await eventually(waits)
        for _ in range(5):
            clock.advance(4)
            assert loops.alive() == {"consumer": True}
            seen = connection.fetches
            await eventually(lambda: fetched(seen + 2))  # noqa: B023 - awaited before the next round
    assert len(pipeline.batches) == 1


class Gate:
    """A pipeline that handles as many records of the first partition as it is let, and those of the other at once."""

    group = "group"

    def __init__(self) -> None:
        self.mongo = SimpleNamespace(clock=ManualClock(datetime(2026, 1, 1, 12, tzinfo=UTC)))
        self.handled = dict.fromkeys(PLACES, 0)
        self._let, self._more = 0, asyncio.Event()

    def let(self, records: int) -> None:
        self._let += records
        self._more.set()

    async def handle_batch(self, records: Sequence[Record]) -> list[Outcome]:
        place = TopicPartition(records[0].topic, records[0].partition)
        while place == PLACE and self.handled[place] + len(records) > self._let:
            self._more.clear()
            await self._more.wait()
        self.handled[place] += len(records)
        return [Done() for _ in records]


async def test_a_partition_with_a_full_queue_is_fetched_again_when_it_is_low_and_the_others_go_on() -> None:
    broker, pipeline = Broker(), Gate()
    this, other = PLACES

    async def full() -> bool:
        return this in broker.paused

    async def low() -> bool:
        return this in broker.resumed

    async def others_go_on(handled: int) -> bool:
        return pipeline.handled[other] > handled

    async def handled(records: int) -> bool:
        return pipeline.handled[this] == records

    async with member(broker, pipeline):
        await eventually(full)
        queued = broker._next[this]
        assert QUEUE_FULL <= queued < QUEUE_FULL + FETCHED
        seen = pipeline.handled[other]
        await eventually(lambda: others_go_on(seen + 2 * QUEUE_FULL))
        assert (broker._next[this], broker.resumed.count(this)) == (queued, 0)
        above = queued - QUEUE_LOW - BATCH_RECORDS
        pipeline.let(above)
        await eventually(lambda: handled(above))
        assert broker.resumed.count(this) == 0
        pipeline.let(BATCH_RECORDS)
        await eventually(low)
        pipeline.let(sys.maxsize)
