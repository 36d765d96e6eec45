"""The permissions, concerns and locks that the promises rest on."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.errors import NotFound, VersionConflict
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.topics import ALARMS
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.persistence.vault import Erased, KeyRing, Vault
from tests.support.concerns import Concerns

ONE, TWO = system_scope("clinic-1", "test"), system_scope("clinic-2", "test")
RING = KeyRing("k1:" + "A" * 43 + "=")


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


def test_a_service_user_opens_no_other_database_and_cannot_change_its_audit(stack: Stack) -> None:
    uri = stack.environment("intake")["INTAKE_MONGODB_URI"]
    with MongoClient[Any](uri) as client:
        client.intake.audit.find_one()
        for forbidden in (
            client.monitoring.sessions.find_one,
            lambda: client.intake.audit.update_one({}, {"$set": {"role": "x"}}),
            lambda: client.intake.audit.delete_one({}),
            client.intake.audit.drop,
        ):
            with pytest.raises(OperationFailure, match="not authorized"):
                forbidden()


async def test_a_service_may_not_write_a_topic_of_another(stack: Stack) -> None:
    env = stack.environment("intake")
    address = KafkaAddress(env["INTAKE_KAFKA_BOOTSTRAP_SERVERS"], "intake", env["INTAKE_KAFKA_PASSWORD"])
    producer: AIOKafkaProducer = new_producer(address, "test")
    await producer.start()
    with pytest.raises(KafkaError, match="Authorization"):
        await asyncio.wait_for(producer.send_and_wait(ALARMS.name, b"{}"), 10)
    await producer.stop()
