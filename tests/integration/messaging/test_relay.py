"""Outbox -> relay -> Kafka."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.stack import Stack
from shared.events.envelope import read_record
from shared.events.monitoring import AlarmCleared, AlarmContentRefused
from shared.messaging.outbox import emit
from shared.messaging.topics import ALARMS, BULK
from shared.messaging.wake import OutboxWatch
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from tests.integration.messaging.world import AT, SCOPE, emit_one, inquiry, relay
from tests.support.eventually import eventually


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


async def test_a_refused_alarm_is_replaced_by_a_page_that_names_it(
    mongo: Mongo, stack: Stack, stop: asyncio.Event
) -> None:
    alarm = f"alarm/{uuid4().hex}"
    await emit_one(mongo, AlarmCleared(patient_id="p", alarm_id=alarm[6:], at=AT, value=1), alarm)

    async def spoil(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update({"aggregate": alarm}, {"$set": {"value": b"x" * 950_000}})

    await mongo.run(SCOPE, spoil)
    running = asyncio.create_task(relay(mongo, stack, "alarm").run(stop))

    async def settled() -> bool:
        return sorted(await states(mongo)) == ["dead", "sent"]

    await eventually(settled, 20)
    stop.set()
    await running
    page = await mongo.plumbing("outbox").find({"state": "sent"})
    envelope, value = read_record([(name, bytes(item)) for name, item in page[0]["headers"]], page[0]["value"])
    event = AlarmContentRefused.read(value or b"")
    assert (envelope.clinic_id, page[0]["topic"], event.aggregate) == ("clinic-1", ALARMS.name, alarm)
    assert event.refused_type == AlarmCleared.event_type()


async def test_rows_of_one_aggregate_leave_in_the_order_of_their_versions(
    mongo: Mongo, stack: Stack, stop: asyncio.Event
) -> None:
    """Even where the clocks of two hosts gave the later version the smaller id."""
    await emit_one(mongo, inquiry("x"), "inquiry/x", version=2)
    await emit_one(mongo, inquiry("x"), "inquiry/x", version=1)
    running = asyncio.create_task(relay(mongo, stack).run(stop))
    await eventually(lambda: all_sent(mongo))
    stop.set()
    await running
    assert await sequences(stack, "x", 2) == ["0000000001.0001", "0000000002.0001"]


async def sequences(stack: Stack, inquiry_id: str, number: int) -> list[str]:
    """The sequences of this inquiry's records in the order of the topic."""
    found: list[str] = []
    async with AIOKafkaConsumer(
        BULK["intake"].name, bootstrap_servers=stack.kafka, auto_offset_reset="earliest"
    ) as reader:
        while len(found) < number:
            record = await asyncio.wait_for(reader.getone(), 10)
            envelope, _ = read_record(record.headers, record.value)
            if envelope.subject == f"inquiry/{inquiry_id}":
                found.append(envelope.sequence)
    return found


async def test_another_process_is_woken_by_the_change_stream(mongo: Mongo, stop: asyncio.Event) -> None:
    woken = asyncio.Event()
    watching = asyncio.create_task(OutboxWatch(mongo, [woken.set]).run(stop))

    async def heard() -> bool:
        await emit_one(mongo, inquiry(), f"inquiry/{uuid4().hex}")
        return woken.is_set()

    await eventually(heard)
    stop.set()
    await watching
