"""The instrument against mechanisms that are broken on purpose: each must be caught."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaError

from deploy.local.stack import Stack
from shared.events.envelope import read_record
from shared.events.intake import InquiryReceived
from shared.messaging.handling import EventContext, Pipeline
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.outcomes import Done, Outcome
from shared.messaging.relay import Relay
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from tests.faults.checker import check
from tests.faults.history import Command, History, Observed
from tests.integration.messaging.world import AT, SCOPE, emit_one, inquiry, records_of

KILLED = ZeroDivisionError


class MarksBeforeSending(Relay):
    """Broken: the mark is committed, then the process dies before the send."""

    async def _produce(self, rows: Sequence[Document]) -> dict[str, BaseException]:
        await self._mark([row["_id"] for row in rows], "sent")
        raise KafkaError


class MarksOutside(Pipeline):
    """Broken: the inbox mark has a transaction of its own, and the process dies before the effect."""

    async def _effects(self, items: Any, **_: Any) -> list[Outcome]:
        async def mark(unit: UnitOfWork) -> None:
            for item in items:
                unit.stage("inbox", {"_id": self._mark(item.envelope), "at": unit.clock.system_now()})

        await self.mongo.run(SCOPE, mark)
        raise KILLED


async def effect(context: EventContext, event: InquiryReceived) -> Outcome:
    row = {"_id": event.inquiry_id, "subject_id": event.inquiry_id, "template": "inquiry_received", "state": "sent"}
    await context.unit.collection("messages").insert(row)
    return Done()


async def observed(mongo: Mongo, on_topic: Sequence[Document]) -> Observed:
    """What this small chain left behind; `on_topic` are the outbox rows that the broker has."""
    outbox = await mongo.plumbing("outbox").find({})
    records = []
    for row in on_topic:
        envelope, _ = read_record([(name, bytes(item)) for name, item in row["headers"]], row["value"])
        shown = {"id": envelope.id, "type": envelope.type, "topic": row["topic"]}
        records.append(shown | {"source": envelope.source, "sequence": envelope.sequence})
    ids = [row["aggregate"].rpartition("/")[2] for row in outbox]
    return Observed(
        inquiries=[{"_id": name} for name in ids],
        messages=await mongo.plumbing("messages").find({}),
        alarms=[],
        escalations=[],
        dead_letters=[],
        outbox=outbox,
        inbox=[row["_id"] for row in await mongo.plumbing("inbox").find({})],
        records=records,
        mails=[{"to": [f"{name}@example.org"], "message_id": name, "at": AT.isoformat()} for name in ids],
        pages=[],
    )


@pytest.fixture
async def asked(mongo: Mongo) -> History:
    """Three acknowledged inquiries, their events waiting in the outbox."""
    await mongo.build_indexes({"messages": []})
    commands = []
    for _ in range(3):
        name = uuid4().hex
        await emit_one(mongo, inquiry(name), f"inquiry/{name}")
        commands.append(Command(name, f"{name}@example.org", name))
    return History(commands)


async def red(mongo: Mongo, asked: History, on_topic: Sequence[Document]) -> set[str]:
    return {violation.check for violation in check(asked, await observed(mongo, on_topic))}


async def test_a_relay_that_marks_before_it_sends_is_caught(mongo: Mongo, stack: Stack, asked: History) -> None:
    lease = Lease(mongo, "relay.bulk", "broken")
    broken = MarksBeforeSending(mongo, "bulk", lease, lambda: new_producer(KafkaAddress(stack.kafka), "broken"))
    assert await lease.acquire()
    with pytest.raises(KafkaError):
        await broken.send_pending()
    await broken._discard_producer()
    assert "sent_is_there" in await red(mongo, asked, [])


async def test_an_inbox_that_marks_outside_of_the_transaction_is_caught(mongo: Mongo, asked: History) -> None:
    broken = MarksOutside(mongo, "test", "stillwater.notifications", {InquiryReceived: effect}, None)
    for record in await records_of(mongo):
        await broken.handle(record)
    healthy = Pipeline(mongo, "test", "stillwater.notifications", {InquiryReceived: effect}, None)
    for record in await records_of(mongo):
        await healthy.handle(record)
    assert "effect_once" in await red(mongo, asked, await sent(mongo))


async def test_a_consumer_that_commits_first_is_caught(mongo: Mongo, asked: History) -> None:
    """It dies between its offset and its transaction: the second record is never seen again."""
    healthy = Pipeline(mongo, "test", "stillwater.notifications", {InquiryReceived: effect}, None)
    records = await records_of(mongo)
    for record in (records[0], records[2]):
        await healthy.handle(record)
    assert {"handled", "effect_once"} <= await red(mongo, asked, await sent(mongo))


async def test_the_healthy_chain_is_green(mongo: Mongo, asked: History) -> None:
    healthy = Pipeline(mongo, "test", "stillwater.notifications", {InquiryReceived: effect}, None)
    await asyncio.gather(*(healthy.handle(record) for record in await records_of(mongo)))
    assert await red(mongo, asked, await sent(mongo)) == set()


async def sent(mongo: Mongo) -> list[Document]:
    """All rows marked as sent, as a relay leaves them."""

    async def mark(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update_many({}, {"$set": {"state": "sent"}})

    await mongo.run(SCOPE, mark)
    return await mongo.plumbing("outbox").find({})
