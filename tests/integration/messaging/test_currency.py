"""How old a projection is: told by who consumes, read by who decides."""

import asyncio
from datetime import datetime

from deploy.local.stack import Stack
from shared.messaging.currency import SOURCES, Currency, as_of
from shared.messaging.outcomes import Retry
from shared.messaging.topics import BULK, Topic
from shared.persistence.mongo import Mongo
from tests.integration.messaging.test_consumer import consumer_of, publish, some_records
from tests.integration.messaging.world import SCOPE, Effects, new_topic
from tests.support.eventually import eventually


async def told(mongo: Mongo, topic: Topic) -> datetime | None:
    return (await as_of(mongo.reader(SCOPE), {"intake": topic}))["intake"]


async def test_a_source_is_as_old_as_its_oldest_partition_and_unknown_until_each_was_read(mongo: Mongo) -> None:
    topic, now = BULK["intake"], mongo.clock.system_now()
    read = {f"partitions.{number}": now for number in range(topic.partitions - 1)}
    await mongo.plumbing(SOURCES).update({"_id": topic.name}, {"$set": read}, upsert=True)
    assert await told(mongo, topic) is None
    oldest = {f"partitions.{topic.partitions - 1}": now.replace(year=2020)}
    await mongo.plumbing(SOURCES).update({"_id": topic.name}, {"$set": oldest})
    found = await told(mongo, topic)
    assert found is not None
    assert found.year == 2020


async def test_a_partition_that_waits_stands_still_while_the_others_go_on(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    name = await new_topic(stores, 2)
    await publish(stores, name, 1, (await some_records(mongo, "stuck"))[0])
    consumer = consumer_of(stores, Effects({"stuck": Retry("store_slow")}).pipeline(mongo), name)
    tasks = [asyncio.create_task(work.run(stop)) for work in (consumer, Currency(mongo, [consumer]))]

    async def partitions() -> set[str]:
        row = await mongo.plumbing(SOURCES).find_one({"_id": name})
        return set(row["partitions"]) if row else set()

    await eventually(partitions, 20)
    assert [place.partition for place in await consumer.read_to_the_end()] == [0]
    assert await partitions() == {"0"}
    stop.set()
    await asyncio.gather(*tasks)


async def test_who_has_handled_everything_says_so(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    name = await new_topic(stores, 1)
    await publish(stores, name, 0, (await some_records(mongo, "good"))[0])
    consumer = consumer_of(stores, Effects().pipeline(mongo), name)
    assert await consumer.read_to_the_end() == []
    running = asyncio.create_task(consumer.run(stop))
    await eventually(consumer.read_to_the_end, 20)
    stop.set()
    await running
