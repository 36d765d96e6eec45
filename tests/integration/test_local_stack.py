"""`make up`: begins again where it was stopped, keeps what runs, and leaves nothing half-started."""

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from pymongo import MongoClient

from deploy.local import kafka_broker, mongodb, processes
from deploy.local.processes import StackError
from deploy.local.stack import Stack
from shared.messaging.kafka import KafkaAddress
from shared.messaging.topics import SERVICES


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Stack]:
    """Nothing runs yet; nothing runs afterwards."""
    made = Stack(tmp_path, random_ports=True)
    try:
        yield made
    finally:
        made.down()


def pids(stack: Stack) -> dict[str, int]:
    found = {name: processes.running(stack.home, name) for name in processes.names(stack.home)}
    return {name: process.pid for name, process in found.items() if process}


@pytest.mark.long
def test_a_store_whose_first_start_was_cut_short_gets_its_administrator(
    bare: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, password = bare.ports["mongod"], bare.secrets["admin"]

    def killed(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(mongodb, "primary", killed)
        with pytest.raises(KeyboardInterrupt):
            mongodb.start(bare.home, port, password)
    processes.stop(bare.home, ["mongod"])
    for _ in range(2):
        with MongoClient[Any](mongodb.start(bare.home, port, password)) as admin:
            assert admin.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        processes.stop(bare.home, ["mongod"])
    with pytest.raises(StackError, match="another administrator's password"):
        mongodb.start(bare.home, port, secrets.token_hex(8))


async def test_a_broker_whose_formatting_was_cut_short_is_formatted_again(bare: Stack) -> None:
    passwords = {name: bare.secrets[name] for name in SERVICES}
    cut = bare.home / "data" / "kafka" / "meta.properties"
    cut.parent.mkdir(parents=True)
    cut.write_text("version=1\n")
    kafka_broker.start(bare.home, bare.cache, bare.ports, passwords)
    address = KafkaAddress(f"127.0.0.1:{bare.ports['services']}", "intake", passwords["intake"])
    producer = AIOKafkaProducer(**address.options())
    await producer.start()
    await producer.stop()


@pytest.mark.long
def test_up_keeps_what_is_right_and_starts_the_rest_anew(bare: Stack) -> None:
    bare.up()
    first = pids(bare)
    assert set(first) == {"mongod", "kafka", "companions", *SERVICES}
    bare.up()
    assert pids(bare) == first

    addresses = bare.home / "stack.json"
    addresses.write_text(json.dumps({**json.loads(addresses.read_text()), "code": "of yesterday"}))
    bare.up()
    second = pids(bare)
    assert set(second) == set(first)
    assert {name for name in first if second[name] == first[name]} == {"mongod", "kafka"}

    bare.up(replicas=1)
    third = pids(bare)
    roles = {f"{name}-{role}" for name in SERVICES for role in ("api", "worker")}
    assert set(third) == {"mongod", "kafka", "companions", *roles}
    assert (third["mongod"], third["kafka"]) == (first["mongod"], first["kafka"])


@pytest.mark.long
def test_stores_that_the_environment_names_are_used_as_they_are(
    bare: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.start_stores()
    there = pids(bare)
    guest = Stack(tmp_path / "guest", random_ports=True)
    with monkeypatch.context() as context:
        context.setenv("MONGODB_URI", bare.mongodb_uri)
        context.setenv("KAFKA_BOOTSTRAP_SERVERS", bare.kafka)
        try:
            guest.up()
            assert set(pids(guest)) == {"companions", *SERVICES}
            assert all(json.loads(httpx.get(f"{guest.health_url(name)}/readyz").text) for name in SERVICES)
        finally:
            guest.down()
    assert pids(bare) == there


@pytest.mark.parametrize("fault", ["settings", "port", "interrupt"])
def test_up_that_fails_leaves_nothing_running(bare: Stack, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = bare.ports["intake"]
    said = {
        "settings": "A migration failed; its reason stands above",
        "port": rf"Port {port} \(intake\) is taken\. Stop what listens there \(`ss -ltnp 'sport = :{port}'`\)",
        "interrupt": None,
    }
    with socket.socket() as taken:
        if fault == "settings":
            bare.overrides["SCHEDULING_SIGNING_KEY"] = ""
        elif fault == "port":
            taken.bind(("127.0.0.1", port))
            taken.listen()
        else:
            monkeypatch.setattr(Stack, "start_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt if fault == "interrupt" else StackError, match=said[fault]):
            bare.up()
    assert processes.names(bare.home) == []
    assert not (bare.home / "stack.json").exists()
