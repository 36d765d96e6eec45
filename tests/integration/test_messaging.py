"""Outbox -> relay -> Kafka -> inbox, on the real broker and store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.stack import Stack
from shared.events.envelope import Lane
from shared.events.intake import InquiryReceived
from shared.events.monitoring import AlarmCleared
from shared.messaging.consumer import Consumer
from shared.messaging.handling import EventContext, Handlers, Pipeline, Record
from shared.messaging.kafka import KafkaAddress, new_consumer, new_producer
from shared.messaging.outbox import emit
from shared.messaging.outcomes import Done, Outcome, Reject, Skip
from shared.messaging.relay import Relay
from shared.messaging.topics import ALARMS, BULK
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from tests.support.eventually import eventually

SCOPE = system_scope("clinic-1", "test")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def inquiry() -> InquiryReceived:
    return InquiryReceived(inquiry_id=uuid4().hex, channel="phone")


async def emit_one(mongo: Mongo, event: InquiryReceived | AlarmCleared, aggregate: str) -> str:
    async def work(unit: UnitOfWork) -> str:
        return emit(unit, event, aggregate=aggregate, version=1)

    return await mongo.run(SCOPE, work)


def relay(mongo: Mongo, stack: Stack, lane: Lane = "bulk", holder: str = "one") -> Relay:
    address = KafkaAddress(stack.kafka)
    return Relay(mongo, lane, Lease(mongo, f"relay.{lane}", holder), lambda: new_producer(address, "test"))


@pytest.fixture
async def stop() -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    yield event
    event.set()


async def states(mongo: Mongo) -> list[str]:
    return [row["state"] for row in await mongo.plumbing("outbox").find({})]


async def all_sent(mongo: Mongo) -> bool:
    return set(await states(mongo)) == {"sent"}


async def test_a_rolled_back_use_case_leaves_no_event(mongo: Mongo) -> None:
    async def work(unit: UnitOfWork) -> None:
        emit(unit, inquiry(), aggregate="inquiry/1", version=1)
        await unit.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await mongo.run(SCOPE, work)
    assert await states(mongo) == []


async def test_the_relay_sends_what_was_committed_and_marks_it(mongo: Mongo, stack: Stack, stop: asyncio.Event) -> None:
    event_id = await emit_one(mongo, inquiry(), "inquiry/1")
    running = asyncio.create_task(relay(mongo, stack).run(stop))
    await eventually(lambda: all_sent(mongo))
    stop.set()
    await running
    async with AIOKafkaConsumer(
        BULK["intake"].name, bootstrap_servers=stack.kafka, auto_offset_reset="earliest"
    ) as reader:
        ids = set()
        while event_id not in ids:
            record = await asyncio.wait_for(reader.getone(), 10)
            ids.add(dict(record.headers)["ce_id"].decode())


async def test_a_refused_row_is_dead_and_its_neighbours_leave(mongo: Mongo, stack: Stack, stop: asyncio.Event) -> None:
    for name in ("a", "bad", "c"):
        await emit_one(mongo, inquiry(), f"inquiry/{name}")

    async def spoil(unit: UnitOfWork) -> None:
        too_large = {"$set": {"value": b"x" * 950_000}}
        await unit.plumbing("outbox").update({"aggregate": "inquiry/bad"}, too_large)

    await mongo.run(SCOPE, spoil)
    running = asyncio.create_task(relay(mongo, stack).run(stop))

    async def settled() -> bool:
        return sorted(await states(mongo)) == ["dead", "sent", "sent"]

    await eventually(settled, 20)
    stop.set()
    await running


async def test_only_one_of_two_relays_leads(mongo: Mongo) -> None:
    first, second = (Lease(mongo, "relay.bulk", name, term_s=1) for name in ("one", "two"))
    assert await first.acquire()
    assert not await second.acquire()
    await first.release()
    assert await second.acquire()
    assert second.token > first.token


async def test_an_alarm_leaves_at_once_while_100_000_rows_wait(mongo: Mongo, stack: Stack, stop: asyncio.Event) -> None:
    await emit_one(mongo, inquiry(), "inquiry/1")
    template = (await mongo.plumbing("outbox").find({}))[0]
    for start in range(0, 100_000, 10_000):
        rows = [{**template, "_id": f"{start + number:06d}"} for number in range(10_000)]
        await mongo.plumbing("outbox").insert_many(rows)
    tasks = [asyncio.create_task(relay(mongo, stack, lane).run(stop)) for lane in ("bulk", "alarm")]
    await eventually(lambda: _some_sent(mongo), 20)
    cleared = AlarmCleared(patient_id="p", alarm_id=uuid4().hex, at=AT, value=1)
    event_id = await emit_one(mongo, cleared, "alarm/1")

    async def gone() -> Document | None:
        return await mongo.plumbing("outbox").find_one({"_id": event_id, "state": "sent"})

    await eventually(gone, 1.0)
    waiting = await mongo.plumbing("outbox").count({"state": "pending"})
    assert waiting > 0, "the bulk rows were gone before the alarm came: this proves nothing"
    stop.set()
    await asyncio.gather(*tasks)


async def _some_sent(mongo: Mongo) -> bool:
    return await mongo.plumbing("outbox").find_one({"state": "sent"}) is not None


def record_of(headers: list[tuple[str, bytes]], value: bytes | None, offset: int = 0) -> Record:
    return Record(BULK["intake"].name, 0, offset, b"k", value, headers)


async def good_record(mongo: Mongo) -> Record:
    await emit_one(mongo, inquiry(), "inquiry/1")
    row = (await mongo.plumbing("outbox").find({}))[0]
    return record_of([(name, bytes(item)) for name, item in row["headers"]], bytes(row["value"]))


def counting(mongo: Mongo, outcome: Outcome | None = None) -> tuple[Pipeline, list[str]]:
    seen: list[str] = []

    async def handler(context: EventContext, event: InquiryReceived) -> Outcome:
        await context.unit.collection("leases").put({"_id": f"effect-{event.inquiry_id}"})
        seen.append(event.inquiry_id)
        return outcome or Done()

    handlers: Handlers = {InquiryReceived: handler}
    return Pipeline(mongo, "test", f"group-{uuid4().hex}", handlers, None), seen


async def test_a_repeated_record_takes_effect_once(mongo: Mongo) -> None:
    record = await good_record(mongo)
    pipeline, seen = counting(mongo)
    assert await pipeline.handle(record) == Done()
    assert await pipeline.handle(record) == Skip("duplicate")
    assert len(seen) == 1


async def test_twins_at_the_same_moment_take_effect_once(mongo: Mongo) -> None:
    record = await good_record(mongo)
    pipeline, _ = counting(mongo)
    outcomes = await asyncio.gather(*(pipeline.handle(record) for _ in range(8)))
    assert outcomes.count(Done()) == 1


async def test_a_rejected_event_leaves_its_bytes_and_nothing_else(mongo: Mongo) -> None:
    record = await good_record(mongo)
    pipeline, _ = counting(mongo, Reject("never"))
    for _ in range(2):
        assert await pipeline.handle(record) == Reject("never")
    letters = await mongo.plumbing("dead_letters").find({})
    assert [(row["code"], bytes(row["value"])) for row in letters] == [("never", record.value)]
    assert await mongo.plumbing("leases").count({}) == 0
    assert await mongo.plumbing("inbox").count({}) == 0


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ([], b"{}", "attribute_missing"),
        ([("ce_id", b"\xff")], b"{}", "headers_not_utf8"),
        ([("content-type", b"application/cloudevents+json")], b"\x00\x01", "envelope_invalid"),
    ],
)
async def test_an_unreadable_record_is_a_dead_letter(
    mongo: Mongo, headers: list[tuple[str, bytes]], value: bytes, code: str
) -> None:
    pipeline, _ = counting(mongo)
    assert await pipeline.handle(record_of(headers, value)) == Reject(code)
    assert await mongo.plumbing("dead_letters").count({"code": code}) == 1


async def test_the_partition_goes_on_after_poison(mongo: Mongo, stack: Stack, stop: asyncio.Event) -> None:
    good = await good_record(mongo)
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
    async with producer:
        await producer.send_and_wait(ALARMS.name, b"\x00poison", partition=0)
        await producer.send_and_wait(ALARMS.name, good.value, partition=0, headers=list(good.headers))
    pipeline, seen = counting(mongo)
    group = pipeline.group
    consumer = Consumer(
        mongo,
        pipeline,
        [ALARMS.name],
        lambda: new_consumer(KafkaAddress(stack.kafka), group, "test", session_timeout_ms=6000),
        fuse=True,
    )
    running = asyncio.create_task(consumer.run(stop))

    async def handled() -> bool:
        return len(seen) == 1 and await mongo.plumbing("dead_letters").count({}) >= 1

    await eventually(handled, 20)
    stop.set()
    await running
