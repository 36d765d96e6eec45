"""Outbox -> relay -> Kafka."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local import processes
from deploy.local.stack import Stack
from shared.errors import Invalid, LeaseLost
from shared.events.envelope import read_record
from shared.events.monitoring import AlarmCleared, AlarmContentRefused
from shared.messaging import relay as relays
from shared.messaging.kafka import KafkaAddress, kill, new_producer
from shared.messaging.relay import LEASE_SECONDS, Relay
from shared.messaging.topics import ALARMS, BULK, MAX_REQUEST_BYTES
from shared.messaging.wake import OutboxWatch
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from tests.integration.messaging.world import AT, SCOPE, Hearer, emit_one, inquiry, new_topic, relay
from tests.support.eventually import eventually


async def states(mongo: Mongo) -> list[str]:
    return [row["state"] for row in await mongo.plumbing("outbox").find({})]


async def all_sent(mongo: Mongo) -> bool:
    return set(await states(mongo)) == {"sent"}


async def test_the_relay_sends_what_was_committed_and_marks_it(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    event_id = await emit_one(mongo, inquiry(), "inquiry/1")
    running = asyncio.create_task(relay(mongo, stores).run(stop))
    await eventually(lambda: all_sent(mongo))
    stop.set()
    await running
    async with AIOKafkaConsumer(
        BULK["intake"].name, bootstrap_servers=stores.kafka, auto_offset_reset="earliest"
    ) as reader:
        ids = set()
        while event_id not in ids:
            record = await asyncio.wait_for(reader.getone(), 10)
            ids.add(dict(record.headers)["ce_id"].decode())


async def test_a_refused_row_is_dead_and_its_neighbours_leave(mongo: Mongo, stores: Stack, stop: asyncio.Event) -> None:
    for name in ("a", "bad", "c"):
        await emit_one(mongo, inquiry(), f"inquiry/{name}")

    async def spoil(unit: UnitOfWork) -> None:
        too_large = {"$set": {"value": b"x" * 950_000}}
        await unit.plumbing("outbox").update({"aggregate": "inquiry/bad"}, too_large)

    await mongo.run(SCOPE, spoil)
    running = asyncio.create_task(relay(mongo, stores).run(stop))

    async def settled() -> bool:
        return sorted(await states(mongo)) == ["dead", "sent", "sent"]

    await eventually(settled, 20)
    stop.set()
    await running


async def test_after_a_record_that_the_broker_refused_what_shares_its_partition_leaves(
    mongo: Mongo, stores: Stack
) -> None:
    """The refusal ruins the sequence of the producer that heard it: whatever it sent there later would be refused too."""
    topic, relaying = await new_topic(stores, 1, {"max.message.bytes": "10000"}), relay(mongo, stores)

    async def leave(*names: str) -> int:
        for name in names:
            await emit_one(mongo, inquiry(), f"inquiry/{name}")
        await mongo.database.outbox.update_many({}, {"$set": {"topic": topic}})
        await mongo.database.outbox.update_one({"aggregate": "inquiry/bad"}, {"$set": {"value": b"x" * 20_000}})
        return await relaying.send_pending()

    assert await leave("before") == 1
    assert await leave("a", "bad", "c") == 2
    assert await states(mongo) == ["sent", "sent", "dead", "sent"]
    assert await leave("later") == 1
    await relaying._discard_producer()


@pytest.mark.parametrize(("length", "taken"), [(-4096, True), (-512, False), (0, False)])
async def test_a_record_counts_with_its_key_and_headers(mongo: Mongo, length: int, *, taken: bool) -> None:
    """Found in the use case, where the caller hears of it, not in the relay."""
    event = inquiry("x" * ((MAX_REQUEST_BYTES + length) // 5))  # value, key, ce_source, ce_subject, ce_partitionkey

    async def outcome() -> bool:
        try:
            return bool(await emit_one(mongo, event, f"inquiry/{event.inquiry_id}"))
        except Invalid:
            return False

    assert await outcome() is taken


async def test_only_one_of_two_relays_leads(mongo: Mongo) -> None:
    first, second = (Lease(mongo, "relay.bulk", name, term_s=1) for name in ("one", "two"))
    assert await first.acquire()
    assert not await second.acquire()
    await first.release()
    assert await second.acquire()
    assert second.token > first.token


async def test_a_topic_that_is_missing_holds_up_only_its_own_rows(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    for name in ("a", "homeless", "c"):
        await emit_one(mongo, inquiry(), f"inquiry/{name}")

    async def misplace(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update({"aggregate": "inquiry/homeless"}, {"$set": {"topic": "no-such-topic"}})

    await mongo.run(SCOPE, misplace)
    running = asyncio.create_task(relay(mongo, stores).run(stop))

    async def neighbours_left() -> bool:
        return sorted(await states(mongo)) == ["pending", "sent", "sent"]

    await eventually(neighbours_left, 10)
    await emit_one(mongo, inquiry(), "inquiry/later")

    async def the_lane_goes_on() -> bool:
        return sorted(await states(mongo)) == ["pending", "sent", "sent", "sent"]

    await eventually(the_lane_goes_on, 2)
    stop.set()
    await running


async def test_what_the_broker_has_not_acknowledged_is_not_marked_and_leaves_later(
    mongo: Mongo, stores: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "REST_SECONDS", 0.0)
    waiting, broker = relay(mongo, stores), processes.running(stores.home, "kafka")
    assert broker is not None
    await emit_one(mongo, inquiry(), "inquiry/before")
    assert await waiting.send_pending() == 1
    await emit_one(mongo, inquiry(), "inquiry/meanwhile")
    broker.suspend()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(relays, "PRODUCE_SECONDS", 1.0)
            assert await waiting.send_pending() == 0
        assert sorted(await states(mongo)) == ["pending", "sent"]
        assert not senders(), "what was given up would leave behind our back"
    finally:
        broker.resume()
    assert await waiting.send_pending() == 1
    assert await all_sent(mongo)
    await waiting._discard_producer()


def senders() -> set[asyncio.Task[Any]]:
    """Of producers that still have something to send, or wait for it."""
    return {task for task in asyncio.all_tasks() if "_sender_routine" in repr(task.get_coro())}


class NeverSends(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka ships no types
    async def send(self, *_: Any, **__: Any) -> None:
        pytest.fail("a record left")


class Interrupted(Relay):
    """Between its read and its send something happens."""

    meanwhile: Callable[[], Awaitable[None]]

    async def _read(self, behind: str) -> list[Document]:
        rows = await super()._read(behind)
        await self.meanwhile()
        return rows


async def test_a_relay_that_lost_its_lease_between_read_and_send_sends_nothing(mongo: Mongo, stores: Stack) -> None:
    await emit_one(mongo, inquiry(), "inquiry/1")
    mine, other = (Lease(mongo, "relay.bulk", name, term_s=0.6) for name in ("one", "two"))
    stale = Interrupted(mongo, "bulk", mine, lambda: NeverSends(bootstrap_servers=stores.kafka))

    async def taken_over() -> None:
        await eventually(other.acquire, 5)

    stale.meanwhile = taken_over
    assert await mine.acquire()
    with pytest.raises(LeaseLost):
        await stale.send_pending()
    await stale._discard_producer()
    assert await states(mongo) == ["pending"]


async def test_of_those_who_ask_at_the_same_moment_one_leads(mongo: Mongo) -> None:
    """Each has seen that nobody held it."""
    leases = [Lease(mongo, "relay.bulk", f"holder-{number}") for number in range(8)]
    assert sum(await asyncio.gather(*(lease.acquire() for lease in leases))) == 1


async def test_a_holder_trusts_its_lease_for_two_thirds_of_its_term(mongo: Mongo) -> None:
    """The rest is for clocks that do not run alike."""
    lease = Lease(mongo, "relay.bulk", "one", term_s=60)
    assert await lease.acquire()
    assert 20 < lease.left() <= 40


async def test_a_lease_is_kept_while_its_holder_works(mongo: Mongo, stop: asyncio.Event) -> None:
    mine, other = (Lease(mongo, "relay.bulk", name, term_s=0.8) for name in ("one", "two"))
    assert await mine.acquire()
    keeping, end = asyncio.create_task(mine.keep(stop)), mongo.clock.monotonic() + 2.0
    while mongo.clock.monotonic() < end:
        assert not await other.acquire()
    assert mine.held()
    stop.set()
    await keeping


async def test_rows_move_again_within_three_seconds_of_the_death_of_their_relay(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    address = KafkaAddress(stores.kafka)
    dead, heir = (
        Relay(mongo, "bulk", Lease(mongo, "relay.bulk", name, LEASE_SECONDS), lambda: new_producer(address, "test"))
        for name in ("dead", "heir")
    )
    assert await dead._leading()
    await emit_one(mongo, inquiry(), "inquiry/1")
    running = asyncio.create_task(heir.run(stop))
    await eventually(lambda: all_sent(mongo), 3.0)
    stop.set()
    await running


async def test_a_killed_producer_delivers_nothing_when_the_broker_is_back(stores: Stack) -> None:
    producer = new_producer(KafkaAddress(stores.kafka), "killed")
    await producer.start()
    await producer.partitions_for(BULK["intake"].name)
    before, name = senders(), uuid4().hex
    broker = processes.running(stores.home, "kafka")
    assert broker is not None
    broker.suspend()
    try:
        await producer.send(BULK["intake"].name, b"{}", name.encode())
        await kill(producer)
        assert producer._sender.sender_task.done()
        assert not senders() - before
    finally:
        broker.resume()
    async with AIOKafkaConsumer(
        BULK["intake"].name, bootstrap_servers=stores.kafka, auto_offset_reset="earliest"
    ) as reader:
        keys = {row.key for rows in (await reader.getmany(timeout_ms=3000)).values() for row in rows}
    assert name.encode() not in keys


async def test_an_alarm_leaves_at_once_while_100_000_rows_wait(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    await emit_one(mongo, inquiry(), "inquiry/1")
    template = (await mongo.plumbing("outbox").find({}))[0]
    for start in range(0, 100_000, 10_000):
        rows = [{**template, "_id": f"{start + number:06d}"} for number in range(10_000)]
        await mongo.plumbing("outbox").insert_many(rows)
    tasks = [asyncio.create_task(relay(mongo, stores, lane).run(stop)) for lane in ("bulk", "alarm")]
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


@pytest.mark.parametrize(
    ("refused", "session_id"),
    [(b"x" * 950_000, None), (b'{"session_id": "s1", "more": "%s"}' % (b"x" * 950_000), "s1")],
    ids=["unreadable", "too large"],
)
async def test_a_refused_alarm_is_replaced_by_a_page_that_names_it(
    mongo: Mongo, stores: Stack, stop: asyncio.Event, refused: bytes, session_id: str | None
) -> None:
    alarm = f"alarm/{uuid4().hex}"
    await emit_one(mongo, AlarmCleared(patient_id="p", alarm_id=alarm[6:], at=AT, value=1), alarm)

    async def spoil(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update({"aggregate": alarm}, {"$set": {"value": refused}})

    await mongo.run(SCOPE, spoil)
    running = asyncio.create_task(relay(mongo, stores, "alarm").run(stop))

    async def settled() -> bool:
        return sorted(await states(mongo)) == ["dead", "sent"]

    await eventually(settled, 20)
    stop.set()
    await running
    page = await mongo.plumbing("outbox").find({"state": "sent"})
    envelope, value = read_record([(name, bytes(item)) for name, item in page[0]["headers"]], page[0]["value"])
    event = AlarmContentRefused.read(value or b"")
    assert (envelope.clinic_id, page[0]["topic"], event.aggregate) == ("clinic-1", ALARMS.name, alarm)
    assert (event.refused_type, event.session_id) == (AlarmCleared.event_type(), session_id)


async def test_rows_of_one_aggregate_leave_in_the_order_of_their_versions(
    mongo: Mongo, stores: Stack, stop: asyncio.Event
) -> None:
    """Even where the clocks of two hosts gave the later version the smaller id."""
    await emit_one(mongo, inquiry("x"), "inquiry/x", version=2)
    await emit_one(mongo, inquiry("x"), "inquiry/x", version=1)
    running = asyncio.create_task(relay(mongo, stores).run(stop))
    await eventually(lambda: all_sent(mongo))
    stop.set()
    await running
    assert await sequences(stores, "x", 2) == ["0000000001.0001", "0000000002.0001"]


async def sequences(stores: Stack, inquiry_id: str, number: int) -> list[str]:
    """The sequences of this inquiry's records in the order of the topic."""
    found: list[str] = []
    async with AIOKafkaConsumer(
        BULK["intake"].name, bootstrap_servers=stores.kafka, auto_offset_reset="earliest"
    ) as reader:
        while len(found) < number:
            record = await asyncio.wait_for(reader.getone(), 10)
            envelope, _ = read_record(record.headers, record.value)
            if envelope.subject == f"inquiry/{inquiry_id}":
                found.append(envelope.sequence)
    return found


async def test_another_process_is_woken_by_the_change_stream(mongo: Mongo, stop: asyncio.Event) -> None:
    hearer = Hearer()
    watching = asyncio.create_task(OutboxWatch(mongo, [hearer]).run(stop))

    async def heard() -> bool:
        await emit_one(mongo, inquiry(), f"inquiry/{uuid4().hex}")
        return hearer.lanes[:1] == ["bulk"]

    await eventually(heard)
    stop.set()
    await watching
