"""A partition that must wait keeps its order, its owner and its offset; one whose owner leaves does not wait."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import pytest
from aiokafka import TopicPartition

from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.messaging import consumer as consumers
from shared.messaging.consumer import Consumer
from shared.messaging.kafka import KafkaAddress, new_consumer
from shared.messaging.outcomes import Retry
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import Scope
from tests.integration.messaging.test_consumer import committed, consumer_of, publish, some_records
from tests.integration.messaging.world import Effects, effects, effects_in_order, new_topic
from tests.support.eventually import eventually

T = TypeVar("T")
AWAY = Retry("provider_away")
SESSION_MS = 1000


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "BACKOFF_MAX_SECONDS", 0.1)


async def held(consumer: Consumer, seconds: float = 0.0) -> None:
    """Until its partition has been waiting for longer than this."""

    async def waits() -> bool:
        return consumer.waiting_seconds() > seconds

    await eventually(waits, 20)


async def test_what_waits_behind_a_record_takes_effect_after_it(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    topic = await new_topic(stores, 1)
    z, y, x = await some_records(mongo, "z", "y", "x")
    handler = Effects({"z": AWAY})
    await publish(stores, topic, 0, z)
    await publish(stores, topic, 0, y)
    consumer = consumer_of(stores, handler.pipeline(mongo), topic)
    running = asyncio.create_task(consumer.run(stop))
    await held(consumer, 0.3)
    await publish(stores, topic, 0, x)
    await held(consumer, 0.6)
    assert await effects(mongo) == []
    handler.answers.clear()

    async def all_there() -> bool:
        return len(await effects(mongo)) == 3

    await eventually(all_there)
    stop.set()
    await running
    assert await effects_in_order(mongo) == ["z", "y", "x"]


class Store(Mongo):
    """One that can be away."""

    away = True

    async def run(self, scope: Scope, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        if self.away:
            raise Unavailable
        return await super().run(scope, work)


async def test_an_offset_is_committed_only_when_the_dead_letter_is_kept(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    topic = await new_topic(stores, 1)
    await publish(stores, topic, 0, None)
    store = Store(stores.mongodb_uri, mongo.database.name, SystemClock())
    pipeline = Effects().pipeline(store)
    consumer = consumer_of(stores, pipeline, topic)
    running = asyncio.create_task(consumer.run(stop))
    await held(consumer, 0.5)
    assert await committed(stores, pipeline, topic) is None
    store.away = False

    async def kept() -> bool:
        return await mongo.plumbing("dead_letters").count({"topic": topic}) == 1

    await eventually(kept)
    stop.set()
    await running
    store.close()
    assert await committed(stores, pipeline, topic) == 1


class Given(Consumer):
    """Counts how often the group gave it partitions."""

    times = 0

    def open(self, places: Iterable[TopicPartition]) -> None:
        self.times += 1
        super().open(places)


async def test_a_member_that_waits_for_longer_than_its_session_keeps_its_place(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    """What it commits is taken from it, as from none but a member, and nobody gives it the partition anew."""
    topic = await new_topic(stores, 1)
    await publish(stores, topic, 0, (await some_records(mongo, "stuck"))[0])
    handler = Effects({"stuck": AWAY})
    pipeline = handler.pipeline(mongo)
    address = KafkaAddress(stores.kafka)
    member = Given(
        pipeline,
        [topic],
        lambda: new_consumer(address, pipeline.group, "test", session_timeout_ms=SESSION_MS),
        fuse=True,
    )
    running = asyncio.create_task(member.run(stop))
    await held(member, 1.3 * SESSION_MS / 1000)
    assert member.connection is not None
    await member.connection.commit({TopicPartition(topic, 0): 0})
    handler.answers.clear()

    async def done() -> bool:
        return await effects(mongo) == ["stuck"]

    await eventually(done)
    stop.set()
    await running
    assert member.times == 1


async def test_the_partition_of_a_member_that_left_is_free_at_once(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    """Without its goodbye the group would wait for it."""
    topic, handler = await new_topic(stores, 1), Effects()
    pipeline = handler.pipeline(mongo)
    left, first_stop = consumer_of(stores, pipeline, topic, session_ms=30_000), asyncio.Event()
    running = asyncio.create_task(left.run(first_stop))

    async def joined() -> bool:
        return left.joined

    await eventually(joined, 20)
    first_stop.set()
    await running
    await publish(stores, topic, 0, (await some_records(mongo, "next"))[0])
    running = asyncio.create_task(consumer_of(stores, pipeline, topic).run(stop))

    async def handled() -> bool:
        return await effects(mongo) == ["next"]

    await eventually(handled, 4)
    stop.set()
    await running
