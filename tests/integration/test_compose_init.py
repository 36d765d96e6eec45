"""The two jobs of docker-compose.yml on a bare store and a bare broker: topics, rights, users, and nothing more."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.local import kafka_broker, mongodb, processes
from deploy.local.stack import ROOT, Stack
from shared.messaging.kafka import KafkaAddress
from shared.messaging.topics import BULK, CONTACTS, SERVICES, TOPICS

CONFIGS = 'exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "{jars}" -Dlog4j2.level=ERROR kafka.admin.ConfigCommand "$@"'


class Bare:
    """mongod and Kafka as the containers find them, and the environment of the jobs."""

    def __init__(self, home: Path) -> None:
        self.stack = Stack(home, random_ports=True)
        self.ports, self.home = self.stack.ports, home
        kinds = ("MONGODB", "MIGRATE", "KAFKA")
        self.env = {f"{one.upper()}_{kind}_PASSWORD": secrets.token_hex(24) for one in SERVICES for kind in kinds}
        self.env |= {
            "MONGODB_ADMIN_URI": self.stack.mongodb_uri,
            "KAFKA_OPERATOR_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.ports['operator']}",
            "KAFKA_REPLICATION_FACTOR": "1",
            "KAFKA_MIN_INSYNC_REPLICAS": "1",
        }

    def start(self) -> None:
        mongodb.start(self.home, self.ports["mongod"], self.stack.secrets["admin"])
        kafka_broker.start(self.home, self.stack.cache, self.ports, {})
        tool = self.home / "kafka-configs.sh"
        tool.write_text(f"#!/usr/bin/env bash\n{CONFIGS.format(jars=kafka_broker.jars(self.stack.cache))}\n")
        tool.chmod(0o700)
        self.env["KAFKA_CONFIGS"] = str(tool)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], **self.env}
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)

    def kafka(self, service: str, password: str | None = None) -> KafkaAddress:
        own = password or self.env[f"{service.upper()}_KAFKA_PASSWORD"]
        return KafkaAddress(f"127.0.0.1:{self.ports['services']}", service, own)

    def mongo(self, user: str, kind: str) -> MongoClient[dict[str, object]]:
        database = user.removesuffix("-migrate")
        password = self.env[f"{database.upper()}_{kind}_PASSWORD"]
        return MongoClient(f"mongodb://{user}:{password}@127.0.0.1:{self.ports['mongod']}/?authSource={database}")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    made = Bare(tmp_path_factory.mktemp("bare"))
    made.start()
    try:
        for _ in range(2):  # a job that fails is started again, and so is one that had succeeded
            for command in (("bash", "deploy/compose/kafka/users.sh"), (sys.executable, "-m", "deploy.compose.init")):
                done = made.run(*command)
                assert done.returncode == 0, done.stderr
        yield made
    finally:
        processes.stop(made.home, processes.names(made.home))


async def test_a_service_writes_its_own_topic_and_no_other(bare: Bare) -> None:
    producer = AIOKafkaProducer(acks="all", request_timeout_ms=5000, **bare.kafka("intake").options())
    await producer.start()
    try:
        assert (await producer.send_and_wait(BULK["intake"].name, b"x", b"k")).offset == 0
        with pytest.raises(KafkaError):
            await producer.send_and_wait(BULK["monitoring"].name, b"x", b"k")
    finally:
        await producer.stop()


async def test_only_its_readers_read_a_restricted_topic(bare: Bare) -> None:
    seen = {}
    for service in ("notifications", "scheduling"):
        consumer = AIOKafkaConsumer(group_id=f"stillwater.{service}", **bare.kafka(service).options())
        await consumer.start()
        try:
            seen[service] = await consumer.topics()
        finally:
            await consumer.stop()
    assert CONTACTS.name in seen["notifications"]
    assert CONTACTS.name not in seen["scheduling"]
    assert {topic.name for topic in TOPICS if "scheduling" in topic.readers} <= seen["scheduling"]


async def test_a_wrong_password_opens_nothing(bare: Bare) -> None:
    producer = AIOKafkaProducer(request_timeout_ms=5000, **bare.kafka("intake", "wrong").options())
    with pytest.raises(KafkaError):
        await producer.start()
    await producer.stop()


async def test_the_databases_are_apart_and_the_audit_is_insert_only(bare: Bare) -> None:
    def look() -> None:
        with bare.mongo("intake", "MONGODB") as own:
            own.intake.audit.insert_one({"_id": "1"})
            for refused in (
                lambda: own.intake.audit.delete_one({"_id": "1"}),
                own.scheduling.appointments.find_one,
                lambda: own.intake.outbox.create_index("x"),
            ):
                with pytest.raises(OperationFailure, match="not authorized"):
                    refused()
        with bare.mongo("intake-migrate", "MIGRATE") as owner:
            assert owner.intake.outbox.create_index("x")
            with pytest.raises(OperationFailure, match="not authorized"):
                owner.scheduling.appointments.create_index("x")

    await asyncio.to_thread(look)


def test_topics_with_fewer_copies_than_asked_for_are_refused_by_name(bare: Bare) -> None:
    bare.env["KAFKA_MIN_INSYNC_REPLICAS"] = "2"
    try:
        done = bare.run(sys.executable, "-m", "deploy.compose.init")
    finally:
        bare.env["KAFKA_MIN_INSYNC_REPLICAS"] = "1"
    wanted = [f"{topic.name}: min.insync.replicas: wanted 2, found 1" for topic in TOPICS]
    assert (done.returncode, done.stderr.splitlines()) == (1, wanted)


def test_a_job_says_what_is_missing(bare: Bare) -> None:
    gone = bare.env.pop("INTAKE_MIGRATE_PASSWORD")
    try:
        done = bare.run(sys.executable, "-m", "deploy.compose.init")
    finally:
        bare.env["INTAKE_MIGRATE_PASSWORD"] = gone
    assert (done.returncode, done.stderr) == (2, "INTAKE_MIGRATE_PASSWORD: field required\n")
    gone = bare.env.pop("INTAKE_KAFKA_PASSWORD")
    try:
        done = bare.run("bash", "deploy/compose/kafka/users.sh")
    finally:
        bare.env["INTAKE_KAFKA_PASSWORD"] = gone
    assert (done.returncode, done.stderr) == (2, "INTAKE_KAFKA_PASSWORD: field required\n")
