"""One transaction, whatever happens to the request that asked for it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandListener

from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.errors import Unavailable, VersionConflict
from shared.persistence.mongo import Collection, Document, DuplicateKey, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from tests.support.databases import empty_database
from tests.support.eventually import eventually

SCOPE = system_scope("clinic-1", "test")
UNKNOWN = "UnknownTransactionCommitResult"


class Rehearsed(Exception):
    """Ends a unit without a commit."""


class Commits(CommandListener):
    """Holds each commit, before it is sent, until the test lets it go on; counts the commands of transactions."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.commands: list[str] = []

    def started(self, event: Any) -> None:
        if "autocommit" in event.command:
            self.commands.append(event.command_name)
        if event.command_name == "commitTransaction":
            self.reached.set()
            self.go_on.wait(5)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.fixture
def commits() -> Commits:
    return Commits()


@pytest.fixture
async def mongo(stores: Stack, commits: Commits) -> AsyncIterator[Mongo]:
    async with empty_database(stores.mongodb_uri, SystemClock(), listeners=[commits]) as made:
        yield made


async def test_a_request_that_is_cancelled_in_its_commit_is_committed_all_the_same(
    mongo: Mongo, commits: Commits
) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.stage("inbox", {"_id": "one"})

    commits.go_on.clear()
    request = asyncio.create_task(mongo.run(SCOPE, work))
    await asyncio.to_thread(commits.reached.wait, 5)
    for _ in range(2):
        request.cancel()
        done, _ = await asyncio.wait({request}, timeout=0.2)
        assert not done, "the session would have two users"
    commits.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await mongo.plumbing("inbox").count({}) == 1


async def test_a_commit_whose_answer_was_lost_is_asked_for_again_and_the_use_case_is_not(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed: run again from its start, it would happen twice."""
    commit, answers = ClientSession.commit_transaction, iter([AutoReconnect("", {"errorLabels": [UNKNOWN]}), None])

    def lost(session: ClientSession) -> None:
        commit(session)
        if error := next(answers):
            raise error

    monkeypatch.setattr(ClientSession, "commit_transaction", lost)

    async def work(unit: UnitOfWork) -> None:
        unit.stage("inbox", {"_id": uuid4().hex})

    await mongo.run(SCOPE, work)
    assert await mongo.plumbing("inbox").count({}) == 1
    assert list(answers) == []


async def test_a_request_that_is_cancelled_before_its_commit_leaves_nothing_open(mongo: Mongo) -> None:
    entered = asyncio.Event()

    async def work(unit: UnitOfWork) -> None:
        await unit.plumbing("inbox").update({"_id": "one"}, {"$set": {"n": 1}}, upsert=True)
        entered.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(mongo.run(SCOPE, work))
    await entered.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await mongo.plumbing("inbox").insert({"_id": "one"})


async def test_writes_wait_for_the_end_and_go_by_collection(mongo: Mongo, commits: Commits) -> None:
    async def work(unit: UnitOfWork) -> None:
        for name in ("a", "b"):
            await unit.collection("things").insert({"_id": name, "version": 1})
            unit.stage("inbox", {"_id": name})
        await unit.collection("things").replace_versioned({"_id": "a", "version": 2})
        assert commits.commands == []

    await mongo.run(SCOPE, work)
    assert commits.commands == ["insert", "update", "insert", "commitTransaction"]
    rows = await mongo.plumbing("things").find({})
    assert [(row["_id"], row["version"], row["clinic_id"]) for row in rows] == [
        ("a", 2, "clinic-1"),
        ("b", 1, "clinic-1"),
    ]


Write = Callable[[Collection], Awaitable[object]]
WRITES: dict[str, Write] = {
    "insert": lambda things: things.insert({"_id": "new"}),
    "put": lambda things: things.put({"_id": "known", "n": 2}),
    "change": lambda things: things.change({"_id": "known"}, {"$set": {"n": 2}}),
    "replace_versioned": lambda things: things.replace_versioned({"_id": "known", "version": 2}),
    "discard": lambda things: things.discard({"_id": "known"}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_look_at_another_document_keeps_nobody_waiting_for_what_is_to_be_written(
    mongo: Mongo, commits: Commits, write: Write
) -> None:
    await mongo.reader(SCOPE).collection("things").insert({"_id": "known", "version": 1})

    async def work(unit: UnitOfWork) -> None:
        await write(unit.collection("things"))
        await unit.collection("things").find_one({"_id": "other"})

    await mongo.run(SCOPE, work)
    assert commits.commands[0] == "find"


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_look_at_the_same_document_or_at_several_sees_what_was_written(mongo: Mongo, write: Write) -> None:
    things = mongo.reader(SCOPE).collection("things")
    await things.insert({"_id": "known", "version": 1})

    async def written(unit: UnitOfWork) -> list[Document | None]:
        await write(unit.collection("things"))
        return [await unit.collection("things").find_one({"_id": name}) for name in ("known", "new")]

    async def listed(unit: UnitOfWork) -> list[Document]:
        await write(unit.collection("things"))
        return await unit.collection("things").find({})

    async def rehearsed(work: Callable[[UnitOfWork], Awaitable[Any]]) -> Any:
        """What it saw; nothing stays."""
        seen: list[Any] = []

        async def end(unit: UnitOfWork) -> None:
            seen.append(await work(unit))
            raise Rehearsed

        with pytest.raises(Rehearsed):
            await mongo.run(SCOPE, end)
        return seen[0]

    one_by_one, together = await rehearsed(written), await rehearsed(listed)
    await mongo.run(SCOPE, written)
    stored = await things.find({})
    assert [row for row in one_by_one if row] == together == stored


@pytest.mark.parametrize("whose", [{"n": 1}, {"_id": {"$in": ["known"]}}], ids=["by a field", "by several ids"])
async def test_what_may_be_about_any_document_is_written_before_a_look_at_one(
    mongo: Mongo, whose: dict[str, Any]
) -> None:
    await mongo.reader(SCOPE).collection("things").insert({"_id": "known", "n": 1})

    async def work(unit: UnitOfWork) -> Document | None:
        await unit.collection("things").change(whose, {"$set": {"n": 2}})
        return await unit.collection("things").find_one({"_id": "known"})

    seen = await mongo.run(SCOPE, work)
    assert seen is not None
    assert seen["n"] == 2


async def test_a_unit_reads_its_own_writes(mongo: Mongo) -> None:
    async def work(unit: UnitOfWork) -> list[str]:
        things = unit.collection("things")
        await things.insert({"_id": "a"})
        await things.put({"_id": "b", "n": 1})
        await unit.under(system_scope("clinic-2", "test")).collection("things").insert({"_id": "theirs"})
        await things.change({"_id": "a"}, {"$set": {"n": 2}})
        assert await things.update({"_id": "a", "n": 2}, {"$set": {"n": 3}}) == 1
        await things.discard({"_id": "b"})
        return [row["_id"] for row in await things.find({})]

    assert await mongo.run(SCOPE, work) == ["a"]


@pytest.mark.parametrize("looked", [False, True])
async def test_a_stale_version_is_found_at_the_next_look_or_at_the_end(mongo: Mongo, *, looked: bool) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.stage("inbox", {"_id": "effect"})
        await unit.collection("things").replace_versioned({"_id": "a", "version": 5})
        if looked:
            await unit.collection("things").find({})

    await mongo.plumbing("things").insert({"_id": "a", "version": 3, "clinic_id": "clinic-1"})
    with pytest.raises(VersionConflict):
        await mongo.run(SCOPE, work)
    assert await mongo.plumbing("inbox").count({}) == 0


async def test_a_key_that_is_taken_undoes_all_of_the_unit(mongo: Mongo) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.stage("outbox", {"_id": uuid4().hex, "lane": "bulk"})
        unit.stage("inbox", {"_id": "taken"})

    await mongo.run(SCOPE, work)
    with pytest.raises(DuplicateKey):
        await mongo.run(SCOPE, work)
    assert await mongo.plumbing("outbox").count({}) == 1


async def test_what_a_process_had_begun_to_write_when_it_was_killed_is_free_again_soon(
    mongo: Mongo, stores: Stack
) -> None:
    await mongo.plumbing("things").insert({"_id": "chair", "version": 1})
    with MongoClient[Any](stores.mongodb_uri) as killed, killed.start_session() as session:
        session.start_transaction()
        killed[mongo.database.name]["things"].update_one({"_id": "chair"}, {"$set": {"n": 1}}, session=session)

        async def written() -> bool:
            with contextlib.suppress(Unavailable):
                await mongo.run(
                    SCOPE, lambda unit: unit.plumbing("things").update({"_id": "chair"}, {"$set": {"n": 2}})
                )
                return True
            return False

        await eventually(written, 25)
