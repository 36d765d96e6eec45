"""The operators' commands, run as commands: what could not be handled or sent, and the rotation of keys."""

import asyncio
import getpass
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from click.testing import CliRunner

from deploy.local.stack import Stack
from services.intake.wiring import SERVICE
from shared.events.monitoring import SessionAborted
from shared.ids import new_id
from shared.messaging.deadletters import keep, place_of
from shared.messaging.record import Record
from shared.operate.redrive import command as command_of
from shared.persistence.mongo import Mongo, UnitOfWork
from tests.integration.messaging.world import SCOPE, emit_one, inquiry, records_of, relay
from tests.support.eventually import eventually

Run = Callable[..., subprocess.CompletedProcess[str]]
INTAKE = [sys.executable, "-m", "services.intake"]
INTAKE_GROUP = "stillwater.intake"


@pytest.fixture
def environment(stores: Stack, mongo: Mongo) -> dict[str, str]:
    """Of intake, with a database of its own."""
    store = {"INTAKE_MONGODB_URI": stores.mongodb_uri, "INTAKE_MONGODB_DATABASE": mongo.database.name}
    return {**os.environ, **stores.environment("intake"), **store}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*INTAKE, *arguments], env=environment, capture_output=True, text=True, check=False)

    return command


Redrive = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def redrive(environment: dict[str, str]) -> Redrive:
    """The command, in this process: what it says, line by line."""

    async def command(*arguments: str) -> list[str]:
        done = await asyncio.to_thread(CliRunner().invoke, command_of(SERVICE), arguments, env=environment)
        assert done.exit_code == 0, done.output
        return done.output.splitlines()

    return command


async def dead_letters(mongo: Mongo, number: int) -> None:
    """Events that intake can handle by now: sessions that belong to no plan are passed over."""
    for _ in range(number):
        event = SessionAborted(patient_id=new_id(), session_id=new_id(), reason_code="unwell", phase="dosing")
        await emit_one(mongo, event, f"session/{event.session_id}")
    for record in await records_of(mongo):
        await keep(mongo, INTAKE_GROUP, record, "handler_failed")
    await mongo.plumbing("outbox").delete({})


async def test_dead_letters_are_listed_rehearsed_and_redriven(mongo: Mongo, run: Run) -> None:
    await dead_letters(mongo, 3)
    listed = await asyncio.to_thread(run, "redrive", "--list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("handler_failed\torg.stillwater.monitoring.SessionAborted.v1") == 3
    assert listed.stdout.splitlines()[-1] == "3 open"

    rehearsed = await asyncio.to_thread(run, "redrive", "--dry-run", "--code", "handler_failed")
    assert rehearsed.stdout.split() == ["dry", "run", "skip", "3"]
    assert await mongo.plumbing("dead_letters").count({"state": "open"}) == 3
    assert await mongo.plumbing("inbox").count({}) == 0

    elsewhere = await asyncio.to_thread(run, "redrive", "--topic", "another")
    assert "nothing to do" in elsewhere.stdout
    done = await asyncio.to_thread(run, "redrive")
    assert (done.returncode, done.stdout.split()) == (0, ["redrive", "skip", "3"])
    closed = await mongo.plumbing("dead_letters").find({"state": "redriven"})
    assert len(closed) == 3
    assert all(row["closed_by"].startswith("operator:") for row in closed)
    assert await mongo.plumbing("inbox").count({}) == 3


async def unlike_letters(mongo: Mongo) -> tuple[str, str]:
    """The ids of two that have nothing in common but their topic; the first is a minute older."""
    session = SessionAborted(patient_id=new_id(), session_id=new_id(), reason_code="unwell", phase="dosing")
    await emit_one(mongo, inquiry(), "inquiry/1")
    await emit_one(mongo, session, "session/1")
    old, new = await records_of(mongo)
    elsewhere = [(name, b"clinic-2" if name == "ce_clinicid" else item) for name, item in new.headers]
    new = Record(new.topic, 0, new.offset, new.key, new.value, [*elsewhere, ("note", None)])
    await keep(mongo, INTAKE_GROUP, old, "handler_failed")
    await keep(mongo, INTAKE_GROUP, new, "payload_invalid")

    async def age(unit: UnitOfWork) -> None:
        letter = await unit.plumbing("dead_letters").get(place_of(INTAKE_GROUP, old))
        at = letter["at"] - timedelta(minutes=1)
        await unit.plumbing("dead_letters").update({"_id": letter["_id"]}, {"$set": {"at": at}})

    await mongo.run(SCOPE, age)
    return place_of(INTAKE_GROUP, old), place_of(INTAKE_GROUP, new)


async def test_each_filter_finds_its_own_letters_alone(mongo: Mongo, redrive: Redrive) -> None:
    old, new = await unlike_letters(mongo)

    async def listed(*options: str) -> list[str]:
        return [line.split("\t")[0] for line in (await redrive("--list", *options))[:-1]]

    assert await listed() == [old, new]
    assert await listed("--older-than", "30") == [old]
    assert await listed("--code", "payload_invalid") == [new]
    assert await listed("--type", SessionAborted.event_type()) == [new]
    assert await listed("--clinic", "clinic-1") == [old]
    assert await listed("--clinic", "clinic-2", "--code", "handler_failed") == []


async def test_a_letter_is_shown_with_its_headers_and_bytes_and_that_is_audited(mongo: Mongo, redrive: Redrive) -> None:
    _, letter_id = await unlike_letters(mongo)
    letter = await mongo.plumbing("dead_letters").get(letter_id)
    shown = await redrive("--show", letter_id)
    assert shown == [*(f"{name}: {item!r}" for name, item in letter["headers"]), repr(letter["value"])]
    assert {"ce_clinicid: b'clinic-2'", "note: None"} < set(shown)
    (row,) = await mongo.plumbing("audit").find({})
    assert (row["action"], row["subject"], row["clinic_id"]) == (
        "dead_letter.read",
        f"dead-letter/{letter_id}",
        "clinic-2",
    )
    assert row["actor"].startswith("operator:")


async def test_a_letter_is_dropped_with_a_reason_by_somebody(mongo: Mongo, redrive: Redrive) -> None:
    old, new = await unlike_letters(mongo)
    assert await redrive("--drop", "test_data", "--clinic", "clinic-1") == ["1 dropped"]
    dropped = await mongo.plumbing("dead_letters").get(old)
    assert (dropped["state"], dropped["reason"]) == ("dropped", "test_data")
    assert dropped["closed_by"] == f"operator:{getpass.getuser()}"
    assert (await mongo.plumbing("dead_letters").get(new))["state"] == "open"


def at_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    ours, theirs = os.openpty()
    try:
        subprocess.run(command, env=environment, stdout=theirs, stderr=theirs, check=True)
        return os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


async def test_at_a_terminal_it_shows_how_far_it_is(mongo: Mongo, environment: dict[str, str]) -> None:
    """Elsewhere only its label is written, so that logs stay readable."""
    await dead_letters(mongo, 2)
    shown = await asyncio.to_thread(at_a_terminal, [*INTAKE, "redrive"], {**environment, "TERM": "xterm"})
    assert "[####################################]  100%" in shown


async def test_a_row_that_the_broker_refused_is_listed_and_sent_again(
    mongo: Mongo, stores: Stack, stop: asyncio.Event, run: Run
) -> None:
    event_id = await emit_one(mongo, inquiry(), f"inquiry/{new_id()}")

    async def refused(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update({"_id": event_id}, {"$set": {"state": "dead"}})

    await mongo.run(SCOPE, refused)
    running = asyncio.create_task(relay(mongo, stores).run(stop))
    listed = await asyncio.to_thread(run, "redrive", "--outbox", "--list")
    assert (listed.stdout.split()[0], listed.stdout.split()[-3]) == (event_id, "dead")
    assert await mongo.plumbing("outbox").count({"state": "dead"}) == 1
    again = await asyncio.to_thread(run, "redrive", "--outbox")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "1 rows")

    async def sent() -> bool:
        row = await mongo.plumbing("outbox").get(event_id)
        return bool(row["state"] == "sent" and row["decided_by"].startswith("operator:"))

    await eventually(sent)
    stop.set()
    await running


async def test_keys_are_rotated_by_a_command(run: Run) -> None:
    done = await asyncio.to_thread(run, "rotate-keys")
    assert done.returncode == 0, done.stderr
    assert "contacts of patients: 0 published again under t1" in done.stdout
    assert "data_keys: 0 now under k1" in done.stdout
