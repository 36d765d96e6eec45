"""The permissions, concerns and locks that the promises rest on."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.errors import NotFound, VersionConflict
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.topics import SERVICES, TOPICS
from shared.persistence.indexes import INSERT_ONLY, PLUMBING_INDEXES
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.vault import Erased, KeyRing, Vault
from tests.support.concerns import Concerns

ONE, TWO = system_scope("clinic-1", "test"), system_scope("clinic-2", "test")
RING = KeyRing("k1:" + "A" * 43 + "=")
ALL_BUT = {name: set(SERVICES) - {name} for name in SERVICES}
READERS = {
    "stillwater.intake.v1": ALL_BUT["intake"],
    "stillwater.scheduling.v1": ALL_BUT["scheduling"],
    "stillwater.monitoring.v1": ALL_BUT["monitoring"],
    "stillwater.notifications.v1": set(SERVICES),
    "stillwater.monitoring.alarms.v1": {"notifications"},
    "stillwater.intake.alarms.v1": ALL_BUT["intake"],
    "stillwater.intake.contacts.v1": {"notifications"},
    "stillwater.monitoring.beats.v1": {"monitoring", "notifications"},
}


async def test_every_command_states_its_concern(stack: Stack) -> None:
    concerns = Concerns()
    mongo = Mongo(stack.mongodb_uri, f"test_{uuid4().hex[:8]}", SystemClock(), listeners=[concerns])
    await mongo.build_indexes(PLUMBING_INDEXES)
    await mongo.plumbing("leases").insert({"_id": "outside"})

    async def work(unit: UnitOfWork) -> None:
        await unit.collection("leases").insert({"_id": "inside"})
        await unit.collection("leases").update({"_id": "inside"}, {"$set": {"a": 1}})

    await mongo.run(ONE, work)
    assert len(await mongo.plumbing("leases").find({})) == await mongo.plumbing("leases").count({}) == 2
    assert (concerns.bad, concerns.seen) == ([], 6)
    await mongo.client.drop_database(mongo.database.name)
    mongo.close()


async def test_a_query_never_sees_another_clinic(mongo: Mongo) -> None:
    async def write(unit: UnitOfWork) -> None:
        await unit.collection("leases").insert({"_id": "theirs", "clinic_id": "clinic-1"})

    await mongo.run(TWO, write)
    assert await mongo.reader(TWO).collection("leases").get("theirs")
    with pytest.raises(NotFound):
        await mongo.reader(ONE).collection("leases").get("theirs")
    assert await mongo.reader(ONE).collection("leases").find({"clinic_id": "clinic-2"}) == []


async def test_the_whole_use_case_is_run_again_on_a_write_conflict(mongo: Mongo) -> None:
    async def begin(unit: UnitOfWork) -> None:
        await unit.collection("leases").insert({"_id": "counter", "n": 0})

    async def count(unit: UnitOfWork) -> None:
        row = await unit.collection("leases").get("counter")
        await unit.collection("leases").put({**row, "n": row["n"] + 1})

    await mongo.run(ONE, begin)
    await asyncio.gather(*(mongo.run(ONE, count) for _ in range(20)))
    assert (await mongo.reader(ONE).collection("leases").get("counter"))["n"] == 20


async def test_a_stale_version_is_refused(mongo: Mongo) -> None:
    async def begin(unit: UnitOfWork) -> None:
        await unit.collection("leases").insert({"_id": "doc", "version": 1})

    async def save(unit: UnitOfWork) -> None:
        await unit.collection("leases").replace_versioned({"_id": "doc", "version": 2})

    await mongo.run(ONE, begin)
    await mongo.run(ONE, save)
    with pytest.raises(VersionConflict):
        await mongo.run(ONE, save)


async def test_erasure_makes_what_was_encrypted_unreadable(mongo: Mongo) -> None:
    vault = Vault(RING)
    token = await mongo.run(ONE, lambda unit: vault.encrypt(unit, "patient-1", {"name": "Ada"}))
    assert b"Ada" not in token
    assert await vault.decrypt(mongo.reader(ONE), "patient-1", token) == {"name": "Ada"}
    await mongo.run(ONE, lambda unit: vault.shred(unit, "patient-1"))
    with pytest.raises(Erased):
        await vault.decrypt(mongo.reader(ONE), "patient-1", token)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_user_opens_no_other_database_and_cannot_change_its_audit(stack: Stack, service: str) -> None:
    uri = stack.environment(service)[f"{service.upper()}_MONGODB_URI"]
    with MongoClient[Any](uri) as client:
        forbidden: list[Callable[[], Any]] = []
        for other in set(SERVICES) - {service}:
            forbidden += [client[other].outbox.find_one, partial(client[other].outbox.insert_one, {"_id": "x"})]
        for name in INSERT_ONLY:
            own = client[service][name]
            own.find_one()
            change = {"$set": {"role": "x"}}
            forbidden += [partial(own.update_one, {}, change), partial(own.delete_one, {}), own.drop]
        for refused in forbidden:
            with pytest.raises(OperationFailure, match="not authorized"):
                refused()


def kafka_of(stack: Stack, service: str) -> KafkaAddress:
    env, prefix = stack.environment(service), service.upper()
    return KafkaAddress(env[f"{prefix}_KAFKA_BOOTSTRAP_SERVERS"], service, env[f"{prefix}_KAFKA_PASSWORD"])


async def writes(producer: AIOKafkaProducer, topic: str) -> bool:
    """With a key: a compacted topic takes nothing without one."""
    try:
        await asyncio.wait_for(producer.send_and_wait(topic, b"{}", b"test"), 10)
    except TopicAuthorizationFailedError:
        return False
    return True


async def reads(address: KafkaAddress, topic: str) -> bool:
    """Who may not even describe it may not read it; who may, and finds nothing there, may."""
    async with AIOKafkaConsumer(auto_offset_reset="earliest", **address.options()) as consumer:
        if topic not in await consumer.topics():
            return False
        consumer.assign([TopicPartition(topic, 0)])
        try:
            await asyncio.wait_for(consumer.getone(), 10)
        except TopicAuthorizationFailedError:
            return False
        except TimeoutError:
            return True
        return True


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_writes_and_reads_no_topic_that_is_not_its_own(stack: Stack, service: str) -> None:
    """Said here once more: the broker's rights are made of the same table as what the services do."""
    address = kafka_of(stack, service)
    foreign = [name for name in READERS if name.split(".")[1] != service]
    unread = [name for name, readers in READERS.items() if service not in readers]
    assert set(READERS) == {topic.name for topic in TOPICS}
    producer: AIOKafkaProducer = new_producer(address, "test")
    await producer.start()
    try:
        written = [name for name in foreign if await writes(producer, name)]
    finally:
        await producer.stop()
    assert (written, [name for name in unread if await reads(address, name)]) == ([], [])


def test_a_webhook_is_kept_by_its_sink(stack: Stack) -> None:
    key = uuid4().hex
    sent: dict[str, Any] = {
        "url": f"{stack.issuer}/sink/webhook",
        "json": {"event": "x"},
        "headers": {"Idempotency-Key": key},
    }
    assert httpx.post(**sent).json() == {"status": "accepted"}
    rows = httpx.get(f"{stack.issuer}/messages", params={"kind": "webhook"}).json()
    assert [row["body"] for row in rows if row["idempotency_key"] == key] == [{"event": "x"}]
    assert httpx.post(f"{stack.issuer}/sink/unknown", json={}).status_code == 404
