"""Which rows leave, when, and what the broker's own refusal costs the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.stack import Stack
from shared.messaging import marks
from shared.messaging import relay as relays
from shared.messaging.relay import Relay
from shared.messaging.wake import OutboxWatch
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from tests.integration.messaging.world import SCOPE, emit_one, inquiry, relay
from tests.support.eventually import eventually


async def by_aggregate(mongo: Mongo) -> dict[str, str]:
    return {row["aggregate"]: row["state"] for row in await mongo.plumbing("outbox").find({})}


async def test_a_row_that_commits_late_leaves_though_later_ones_have_left(mongo: Mongo, stores: Stack) -> None:
    """Rows are selected by state: one whose id is smaller than what was sent before is not passed over."""
    sending = relay(mongo, stores)
    early = await emit_one(mongo, inquiry(), "inquiry/early")
    (held,) = await mongo.plumbing("outbox").find({"_id": early})
    await mongo.plumbing("outbox").delete({"_id": early})
    await emit_one(mongo, inquiry(), "inquiry/later")
    assert await sending.send_pending() == 1
    await mongo.plumbing("outbox").insert_many([held])
    assert await sending.send_pending() == 1
    assert await by_aggregate(mongo) == {"inquiry/early": "sent", "inquiry/later": "sent"}
    await sending._discard_producer()


async def test_a_row_wakes_the_relay_of_its_own_process(
    mongo: Mongo, stores: Stack, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "SWEEP_SECONDS", {"alarm": 60, "bulk": 60})
    running = asyncio.create_task(relay(mongo, stores).run(stop))

    async def leads() -> bool:
        return await mongo.plumbing("leases").find_one({"_id": "relay.bulk"}) is not None

    await eventually(leads, 5)
    await emit_one(mongo, inquiry(), "inquiry/1")

    async def sent() -> bool:
        return await by_aggregate(mongo) == {"inquiry/1": "sent"}

    await eventually(sent, 2)
    stop.set()
    for wake in mongo.wakers:
        wake("bulk")
    await running


async def test_what_has_left_and_is_not_marked_yet_does_not_leave_again(
    mongo: Mongo, stores: Stack, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark is put off; the looks in the store that come before it pass its row over. It is made before the relay ends."""
    monkeypatch.setattr(marks, "MARK_SECONDS", 60)
    produced, produce = list[str](), Relay._produce

    async def seen(self: Relay, rows: list[dict[str, str]]) -> dict[str, BaseException]:
        faults = await produce(self, rows)
        produced.extend(row["aggregate"] for row in rows)
        return faults

    monkeypatch.setattr(Relay, "_produce", seen)
    running = asyncio.create_task(relay(mongo, stores).run(stop))

    async def has_left(aggregate: str) -> bool:
        return aggregate in produced

    for name in ("inquiry/1", "inquiry/2", "inquiry/3"):
        await emit_one(mongo, inquiry(), name)
        await eventually(lambda name=name: has_left(name), 10)  # type: ignore[misc]
    assert produced == ["inquiry/1", "inquiry/2", "inquiry/3"]
    assert await mongo.plumbing("outbox").count({"state": "pending"}) == 3
    stop.set()
    for wake in mongo.wakers:
        wake("bulk")
    await running
    assert await mongo.plumbing("outbox").count({"state": "sent"}) == 3


async def test_one_mark_per_batch_is_made_while_the_next_is_on_its_way(
    mongo: Mongo, stores: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "BATCH_ROWS", 10)
    for number in range(20):
        await emit_one(mongo, inquiry(), f"inquiry/{number}")
    sending, may_mark = relay(mongo, stores), asyncio.Event()
    marked, produced = list[int](), list[int]()
    mark, produce = Relay._mark, Relay._produce

    async def held(self: Relay, identifiers: list[str], state: str) -> None:
        await may_mark.wait()
        marked.append(len(identifiers))
        await mark(self, identifiers, state)

    async def seen(self: Relay, rows: list[dict[str, object]]) -> dict[str, BaseException]:
        faults = await produce(self, rows)
        produced.append(len(rows))
        if len(produced) == 2:
            may_mark.set()
        return faults

    monkeypatch.setattr(Relay, "_mark", held)
    monkeypatch.setattr(Relay, "_produce", seen)
    assert await asyncio.wait_for(sending.send_pending(), 10) == 20
    assert (produced, marked) == ([10, 10], [10, 10])
    await sending._discard_producer()


async def test_what_the_broker_itself_refuses_is_dead_alone(mongo: Mongo, stores: Stack) -> None:
    """Small enough for the client, too large for this topic: its neighbours of the same partition leave."""
    topic = f"small-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stores.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "10000"})])
    await admin.close()
    for name in ("a", "bad", "c"):
        await emit_one(mongo, inquiry(), f"inquiry/{name}")

    async def move(unit: UnitOfWork) -> None:
        for name, size in (("a", 10), ("bad", 20_000), ("c", 10)):
            change = {"topic": topic, "value": b"x" * size}
            await unit.plumbing("outbox").update({"aggregate": f"inquiry/{name}"}, {"$set": change})

    await mongo.run(SCOPE, move)
    sending = relay(mongo, stores)
    assert await sending.send_pending() == 2
    assert await by_aggregate(mongo) == {"inquiry/a": "sent", "inquiry/bad": "dead", "inquiry/c": "sent"}
    await sending._discard_producer()


async def test_keys_are_spread_over_64_slots_and_each_keeps_its_own(mongo: Mongo) -> None:
    for aggregate in [f"inquiry/{number % 100}" for number in range(200)]:
        await emit_one(mongo, inquiry(), aggregate)
    slots: dict[bytes, set[int]] = {}
    for row in await mongo.plumbing("outbox").find({}):
        slots.setdefault(bytes(row["key"]), set()).add(row["slot"])
    assert {len(found) for found in slots.values()} == {1}
    used = {slot for found in slots.values() for slot in found}
    assert used <= set(range(64))
    assert len(used) > 32


class Followed:
    """A relay with its change stream; what it produced and how often it looked in the store."""

    def __init__(self, mongo: Mongo, stores: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.produced: list[str] = []
        self.looks = 0
        self.faults: dict[str, BaseException] = {}
        read, produce = Relay._read, Relay._produce

        async def looked(relaying: Relay, behind: str) -> list[Document]:
            self.looks += 1
            return await read(relaying, behind)

        async def sent(relaying: Relay, rows: list[Document]) -> dict[str, BaseException]:
            refused = {row["_id"]: fault for row in rows if (fault := self.faults.pop(row["aggregate"], None))}
            whole = [row for row in rows if row["_id"] not in refused]
            faults = await produce(relaying, whole)
            self.produced += [f"{row['aggregate']} {int(row['sequence'][:10])}" for row in whole]
            return faults | refused

        monkeypatch.setattr(Relay, "_read", looked)
        monkeypatch.setattr(Relay, "_produce", sent)
        self._relay = relay(mongo, stores)
        self._watch = OutboxWatch(mongo, [self._relay])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(part.run(stop)) for part in (self._relay, self._watch)]
        try:
            yield
        finally:
            stop.set()
            self._relay.wake("bulk")
            await asyncio.gather(*tasks)

    async def settled(self, produced: list[str]) -> None:
        async def all_left() -> bool:
            return self.produced == produced

        await eventually(all_left, 15)


@pytest.fixture
async def other(mongo: Mongo, stores: Stack) -> AsyncIterator[Mongo]:
    """Another process on the same database."""
    made = Mongo(stores.mongodb_uri, mongo.database.name, mongo.clock)
    yield made
    made.close()


async def test_what_the_change_stream_brings_leaves_without_a_look(
    mongo: Mongo, other: Mongo, stores: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "SWEEP_SECONDS", {"alarm": 60, "bulk": 60})
    followed = Followed(mongo, stores, monkeypatch)
    async with followed.running():
        await emit_one(other, inquiry(), "inquiry/1")
        await followed.settled(["inquiry/1 1"])

        async def brought() -> bool:
            """The first rows may be found by the looks that come with the lease and the stream."""
            number, looks = len(followed.produced) + 1, followed.looks
            await emit_one(other, inquiry(), f"inquiry/{number}")
            await followed.settled([f"inquiry/{n} 1" for n in range(1, number + 1)])
            return followed.looks == looks

        await eventually(brought)
    assert set((await by_aggregate(mongo)).values()) == {"sent"}


async def test_what_follows_a_row_that_did_not_leave_waits_for_it(
    mongo: Mongo, other: Mongo, stores: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "REST_SECONDS", 1.0)
    followed = Followed(mongo, stores, monkeypatch)
    async with followed.running():
        await emit_one(other, inquiry(), "inquiry/a")
        await followed.settled(["inquiry/a 1"])
        followed.faults["inquiry/a"] = TimeoutError()
        await emit_one(other, inquiry(), "inquiry/a", 2)

        async def refused() -> bool:
            return not followed.faults

        await eventually(refused)
        await emit_one(other, inquiry(), "inquiry/a", 3)
        await emit_one(other, inquiry(), "inquiry/b")
        await followed.settled(["inquiry/a 1", "inquiry/b 1", "inquiry/a 2", "inquiry/a 3"])
