"""A new transport key: the live contact records are published again, and the old key is needed no more."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.stack import Stack
from services.intake import schemas
from services.intake.model import ConsentProtocol, PlanProtocol, RiskProtocol
from services.intake.usecases import erasing, inquiries, patients, rekeying
from services.intake.usecases.deps import Deps
from services.intake.wiring import PROTOCOLS
from services.notifications.store import CONTACTS, INDEXES
from shared.clock import ManualClock
from shared.events.envelope import read_record
from shared.events.intake import ContactRecord
from shared.messaging.outcomes import Done, Reject
from shared.messaging.republish import Rekeyed, rekey_after
from shared.messaging.topics import CONTACTS as TOPIC
from shared.operate.rotate_keys import rekey
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.vault import KeyRing, TransportCipher, Vault
from shared.protocols import load
from tests.integration.messaging.world import new_topic, relay
from tests.integration.notifications.world import CLINIC, World
from tests.support.databases import empty_database
from tests.support.eventually import eventually

SCOPE = system_scope(CLINIC, "test")
KEYS, OLD, NEW = (f"{kid}:{b64encode(os.urandom(32)).decode()}" for kid in ("k1", "t1", "t2"))
SHORT = {
    "segment.ms": "500",
    "max.compaction.lag.ms": "500",
    "min.cleanable.dirty.ratio": "0.0",
    "delete.retention.ms": "0",
}
CONTACT = schemas.Contact(name="Grace Example", email="grace@example.org")


def intake(transport: str) -> Deps:
    return Deps(
        vault=Vault(KeyRing(KEYS)),
        transport=TransportCipher(KeyRing(transport)),
        plans=load(PROTOCOLS / "plans.yaml", PlanProtocol),
        consents=load(PROTOCOLS / "consents.yaml", ConsentProtocol),
        risk=load(PROTOCOLS / "risk.yaml", RiskProtocol),
        publishable_keys={},
    )


@pytest.fixture
async def reader(stores: Stack, mongo: Mongo) -> AsyncIterator[World]:
    """Notifications, with the new transport key alone."""
    async with empty_database(stores.mongodb_uri, mongo.clock, INDEXES) as store:
        world = World(store, ManualClock(mongo.clock.system_now()))
        world.deps = replace(world.deps, transport=TransportCipher(KeyRing(NEW)))
        yield world


async def contact_events(mongo: Mongo, **query: object) -> list[ContactRecord | None]:
    """Those in the outbox, in their order; None for a tombstone."""
    rows = await mongo.plumbing("outbox").find({"subject_id": {"$exists": True}, **query})
    read = [read_record([(name, bytes(item)) for name, item in row["headers"]], row["value"]) for row in rows]
    return [None if value is None else ContactRecord.read(value) for _, value in read]


async def known(mongo: Mongo) -> tuple[str, str]:
    """An inquiry and a patient, both told under the old key."""
    deps = intake(OLD)

    async def work(unit: UnitOfWork) -> tuple[str, str]:
        inquiry = await inquiries.receive_inquiry(unit, deps, schemas.NewInquiry(channel="phone", contact=CONTACT))
        patient = await patients.register(unit, deps, schemas.NewPatient(contact=CONTACT, birth_year=1980))
        return inquiry["_id"], patient["_id"]

    return await mongo.run(SCOPE, work)


async def test_after_the_rotation_a_reader_with_the_new_key_alone_knows_everybody(mongo: Mongo, reader: World) -> None:
    subjects = await known(mongo)
    before = await contact_events(mongo)
    kinds = rekeying.kinds(intake(f"{NEW},{OLD}"))
    await rekey(mongo, kinds)
    after = (await contact_events(mongo))[len(before) :]
    assert {record.subject_id for record in after if record} == set(subjects)
    for record in before:
        assert record
        assert await reader.handle(record) == Reject("contact_undecryptable")
    for record in after:
        assert record
        assert await reader.handle(record) == Done()
    for row in await reader.rows(CONTACTS):
        read = await reader.deps.vault.decrypt(reader.mongo.reader(SCOPE), row["_id"], row["sealed"])
        assert read["email"] == CONTACT.email
    await rekey(mongo, kinds)
    assert len(await contact_events(mongo)) == len(before) + len(after)


async def leave(mongo: Mongo, stores: Stack, topic: str) -> None:
    """The contact records that wait, to this topic; nothing else."""
    await mongo.database.outbox.delete_many({"subject_id": {"$exists": False}})
    await mongo.database.outbox.update_many({"state": "pending"}, {"$set": {"topic": topic}})
    relaying = relay(mongo, stores)
    assert await relaying.send_pending() > 0
    await relaying._discard_producer()


async def on_topic(stores: Stack, topic: str) -> list[ContactRecord]:
    """All that whoever begins with the earliest reads there."""
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=stores.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([place])
        end, found = (await consumer.end_offsets([place]))[place], list[ContactRecord]()
        while await consumer.position(place) < end:
            rows = (await consumer.getmany(timeout_ms=200)).get(place, [])
            found += [ContactRecord.read(row.value) for row in rows if row.value]
    return found


async def test_when_the_topic_is_compacted_nobody_who_begins_anew_needs_the_old_key(
    mongo: Mongo, stores: Stack, reader: World
) -> None:
    topic, subjects = await new_topic(stores, 1, TOPIC.config(1) | SHORT), set(await known(mongo))
    await leave(mongo, stores, topic)
    await rekey(mongo, rekeying.kinds(intake(f"{NEW},{OLD}")))
    await leave(mongo, stores, topic)
    assert {record.subject_id for record in await on_topic(stores, topic)} == subjects
    async with AIOKafkaProducer(bootstrap_servers=stores.kafka) as producer:

        async def compacted() -> list[ContactRecord] | None:
            await producer.send_and_wait(topic, None, b"rolls the segment")
            left = await on_topic(stores, topic)
            return left if len(left) == len(subjects) else None

        left = await eventually(compacted, 30, 0.3)
    assert {record.subject_id for record in left} == subjects
    assert [await reader.handle(record) for record in left] == [Done()] * len(subjects)


async def test_the_operator_is_told_how_many_records_wait_to_be_sent(
    mongo: Mongo, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some may be under the old key: it goes when there are none."""
    await known(mongo)
    kinds = rekeying.kinds(intake(f"{NEW},{OLD}"))
    for state, waiting in (("dead", 4), ("sent", 0)):
        await rekey(mongo, kinds)
        await mongo.database.outbox.update_many({}, {"$set": {"state": state}})
        await rekey(mongo, kinds)
        assert capsys.readouterr().out.splitlines()[-1] == f"outbox: {waiting} restricted records wait to be sent"


class Held:
    """Waits, after the document was read, until the test lets it go on; the first time only."""

    def __init__(self, kind: Rekeyed) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._again = kind.again
        self.kind = replace(kind, again=self)

    async def __call__(self, unit: UnitOfWork, row: Document) -> None:
        self.reached.set()
        await self.go_on.wait()
        await self._again(unit, row)


async def test_no_record_is_published_behind_the_tombstone_of_an_erasure_at_the_same_moment(mongo: Mongo) -> None:
    inquiry_id, _ = await known(mongo)
    deps = intake(f"{NEW},{OLD}")
    kinds: Mapping[str, Rekeyed] = rekeying.kinds(deps)
    held = Held(kinds["contacts of inquiries"])
    rotation = asyncio.create_task(rekey_after(mongo, held.kind, ""))
    await held.reached.wait()
    await mongo.run(SCOPE, lambda unit: erasing.erase_inquiry(unit, deps, inquiry_id, "asked"))
    held.go_on.set()
    assert await rotation == []
    assert await contact_events(mongo, subject_id=inquiry_id) == [None]
