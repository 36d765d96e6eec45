"""What is cut short in the middle of the chain: a mark, a change stream, a handler; and a partition that only waits."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from pymongo import MongoClient

from deploy.local.stack import Stack
from shared.errors import Unavailable
from shared.events.intake import InquiryReceived
from shared.messaging import trouble
from shared.messaging.handling import EventContext, Pipeline
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.outcomes import Done, Outcome, Retry, Skip
from shared.messaging.record import Record
from shared.messaging.relay import Relay
from shared.messaging.topics import BULK
from shared.messaging.trouble import TroubleWatch
from shared.messaging.wake import OutboxWatch
from shared.persistence.lease import Lease
from shared.persistence.mongo import Mongo
from tests.integration.messaging.test_consumer import consumer_of, publish, some_records
from tests.integration.messaging.world import Effects, Hearer, effects, emit_one, inquiry, new_topic, relay
from tests.support.eventually import eventually


class Forgetful(Relay):
    """The store is away when the first batch that was acknowledged is to be marked."""

    failed = False

    async def _mark(self, identifiers: list[str], state: str) -> None:
        if not self.failed:
            self.failed = True
            raise Unavailable
        await super()._mark(identifiers, state)


async def records_about(stores: Stack, inquiry_id: str, number: int) -> list[Record]:
    """So many records of the topic with this key, as they lie there."""
    found: list[Record] = []
    topic = BULK["intake"].name
    async with AIOKafkaConsumer(topic, bootstrap_servers=stores.kafka, auto_offset_reset="earliest") as reader:
        while len(found) < number:
            row = await asyncio.wait_for(reader.getone(), 15)
            if row.key == inquiry_id.encode():
                found.append(Record(row.topic, row.partition, row.offset, row.key, row.value, row.headers))
    return found


async def test_a_row_whose_mark_failed_leaves_again_with_its_id_and_takes_effect_once(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    inquiry_id = uuid4().hex
    event_id = await emit_one(mongo, inquiry(inquiry_id), f"inquiry/{inquiry_id}")
    lease = Lease(mongo, "relay.bulk", "one")
    forgetful = Forgetful(mongo, "bulk", lease, lambda: new_producer(KafkaAddress(stores.kafka), "forgetful"))
    running = asyncio.create_task(forgetful.run(stop))

    async def marked() -> bool:
        return await mongo.plumbing("outbox").find_one({"_id": event_id, "state": "sent"}) is not None

    await eventually(marked, 20)
    stop.set()
    await running
    twice = await records_about(stores, inquiry_id, 2)
    assert [dict(record.headers)["ce_id"] for record in twice] == [event_id.encode()] * 2
    pipeline = Effects().pipeline(mongo)
    assert [await pipeline.handle(record) for record in twice] == [Done(), Skip("duplicate")]
    assert await effects(mongo) == [inquiry_id]


def kill_streams(stores: Stack, database: str) -> int:
    """The store forgets every change stream on this outbox; how many there were."""
    with MongoClient[Any](stores.mongodb_uri) as admin:
        stages: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleCursors": True}},
            {"$match": {"ns": f"{database}.outbox"}},
        ]
        cursors = [row["cursor"]["cursorId"] for row in admin.admin.aggregate(stages) if row.get("cursor")]
        for cursor in cursors:
            admin[database].command({"killCursors": "outbox", "cursors": [cursor]})
        return len(cursors)


async def test_a_change_stream_that_is_lost_is_opened_again(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    hearer = Hearer()
    watching = asyncio.create_task(OutboxWatch(mongo, [hearer]).run(stop))

    async def heard() -> bool:
        await emit_one(mongo, inquiry(), f"inquiry/{uuid4().hex}")
        return bool(hearer.lanes)

    await eventually(heard)

    async def killed() -> bool:
        return kill_streams(stores, mongo.database.name) > 0

    await eventually(killed)
    hearer.lanes.clear()
    await eventually(heard)
    stop.set()
    await watching


async def test_without_any_change_stream_the_sweep_finds_what_others_committed(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    running = asyncio.create_task(relay(mongo, stores).run(stop))
    other = Mongo(stores.mongodb_uri, mongo.database.name, mongo.clock)
    event_id = await emit_one(other, inquiry(), f"inquiry/{uuid4().hex}")
    other.close()

    async def sent() -> bool:
        return await mongo.plumbing("outbox").find_one({"_id": event_id, "state": "sent"}) is not None

    await eventually(sent)
    stop.set()
    await running


class Slow(Effects):
    """The first call is held in the middle of its transaction until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, context: EventContext, event: InquiryReceived) -> Outcome:
        first = not self.entered.is_set()
        self.entered.set()
        if first:
            await self.go_on.wait()
        return await super().__call__(context, event)


async def test_a_rebalance_in_the_middle_of_a_handler_leaves_one_effect(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    """The new owner handles the record while the old one, which was not waited for any longer, still has it in hand."""
    topic = await new_topic(stores, 1)
    await publish(stores, topic, 0, (await some_records(mongo, "moved"))[0])
    slow, group = Slow(), f"group-{uuid4().hex}"
    old = consumer_of(stores, Pipeline(mongo, "test", group, {InquiryReceived: slow}, None), topic)
    first_stop = asyncio.Event()
    running = [asyncio.create_task(old.run(first_stop))]
    await asyncio.wait_for(slow.entered.wait(), 20)
    fast = Effects()
    new = consumer_of(stores, Pipeline(mongo, "test", group, {InquiryReceived: fast}, None), topic)
    running.append(asyncio.create_task(new.run(stop)))
    first_stop.set()

    async def taken_over() -> bool:
        return fast.calls > 0 and await effects(mongo) == ["moved"]

    await eventually(taken_over, 30)
    slow.go_on.set()
    stop.set()
    await asyncio.gather(*running)
    assert await effects(mongo) == ["moved"]
    assert await mongo.plumbing("inbox").count({}) == 1


async def test_a_partition_that_waits_too_long_is_told_to_the_operators(
    mongo: Mongo, stores: Stack, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tests/integration/notifications` shows that this event pages them."""
    assert trouble.OLD_SECONDS == 60
    monkeypatch.setattr(trouble, "OLD_SECONDS", 0.5)
    topic = await new_topic(stores, 1)
    await publish(stores, topic, 0, (await some_records(mongo, "stuck"))[0])
    await mongo.plumbing("outbox").delete({})
    consumer = consumer_of(stores, Effects({"stuck": Retry("provider_away")}).pipeline(mongo), topic)
    watch = TroubleWatch(mongo, "intake", [consumer])
    running = asyncio.create_task(consumer.run(stop))

    async def told() -> list[Any]:
        await watch.look()
        return await mongo.plumbing("outbox").find({})

    (row,) = await eventually(told, 20)
    assert consumer.waiting_seconds() > 0.5
    assert row["aggregate"] == "trouble/partition_waiting"
    assert dict(row["headers"])["ce_type"] == b"org.stillwater.intake.ServiceTroubleRaised.v1"
    stop.set()
    await running
