"""The operators' commands, run as commands: what could not be handled or sent, and the rotation of keys."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from deploy.local.stack import Stack
from shared.events.monitoring import SessionAborted
from shared.ids import new_id
from shared.messaging.deadletters import keep
from shared.persistence.mongo import Mongo, UnitOfWork
from tests.integration.messaging.world import SCOPE, emit_one, inquiry, records_of, relay
from tests.support.eventually import eventually

Run = Callable[..., subprocess.CompletedProcess[str]]
INTAKE = [sys.executable, "-m", "services.intake"]


@pytest.fixture
def environment(stack: Stack, mongo: Mongo) -> dict[str, str]:
    """Of intake, with a database of its own."""
    store = {"INTAKE_MONGODB_URI": stack.mongodb_uri, "INTAKE_MONGODB_DATABASE": mongo.database.name}
    return {**os.environ, **stack.environment("intake"), **store}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*INTAKE, *arguments], env=environment, capture_output=True, text=True, check=False)

    return command


async def dead_letters(mongo: Mongo, number: int) -> None:
    """Events that intake can handle by now: sessions that belong to no plan are passed over."""
    for _ in range(number):
        event = SessionAborted(patient_id=new_id(), session_id=new_id(), reason_code="unwell", phase="dosing")
        await emit_one(mongo, event, f"session/{event.session_id}")
    for record in await records_of(mongo):
        await keep(mongo, "stillwater.intake", record, "handler_failed")
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
    mongo: Mongo, stack: Stack, stop: asyncio.Event, run: Run
) -> None:
    event_id = await emit_one(mongo, inquiry(), f"inquiry/{new_id()}")

    async def refused(unit: UnitOfWork) -> None:
        await unit.plumbing("outbox").update({"_id": event_id}, {"$set": {"state": "dead"}})

    await mongo.run(SCOPE, refused)
    running = asyncio.create_task(relay(mongo, stack).run(stop))
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
