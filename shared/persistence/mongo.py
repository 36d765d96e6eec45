"""The client and the transaction; with `unit.py` and `writes.py` the only code that knows the driver (ADR 2).

Every concern is stated, on the client and on every transaction: `w:majority, j:true`, reads `majority`, inside a
transaction `snapshot` (Jepsen, MongoDB 4.2.6: transaction options silently override those of the database).
"""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession
from pymongo import IndexModel, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError, WTimeoutError
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from shared.clock import Clock
from shared.errors import CommitUnknown, Unavailable
from shared.persistence.changes import Changes
from shared.persistence.pending import Pending
from shared.persistence.scope import Scope
from shared.persistence.shapes import Shapes
from shared.persistence.unit import Collection, Collections, Reader, UnitOfWork
from shared.persistence.writes import Document, Filter, Write, named, send
from shared.telemetry.commands import command_span

__all__ = ["Collection", "Document", "DuplicateKey", "Filter", "Mongo", "Reader", "StoreFault", "UnitOfWork"]

T = TypeVar("T")
StoreFault = PyMongoError  # what a read outside `run` raises when the store does not answer; its text may hold values

DURABLE = WriteConcern(w="majority", j=True)
SCHEMA_VERSION = 1
_UNIT_DEADLINE_SECONDS = 5.0
_TRANSIENT = "TransientTransactionError"
_UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
_DUPLICATE_KEY = 11000
_FINISHING_THREADS = 8  # more fight for the interpreter: 32 are a fifth slower at 32 requests in flight


class DuplicateKey(Exception):
    """A unique index refused the transaction; it carries no text, for the driver's text holds values."""


class Mongo:
    """One service's database. `run` is the only way to write."""

    def __init__(self, uri: str, database: str, clock: Clock, *, listeners: Sequence[CommandListener] = ()) -> None:
        self.client: Any = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            retryWrites=True,
            serverSelectionTimeoutMS=3000,
            waitQueueTimeoutMS=3000,
            timeoutMS=10_000,
            event_listeners=list(listeners),
        )
        self.clock, self.shapes = clock, Shapes()
        self.database = self.client[database]
        self._driver: pymongo.MongoClient[Document] = self.client.delegate
        self._plain = self._driver[database]
        self._collections, self._plain_collections = Collections(self.database), Collections(self._plain)
        self._threads = ThreadPoolExecutor(_FINISHING_THREADS, thread_name_prefix="commit")
        self.last_success = float("-inf")
        self.wakers: list[Callable[[str], None]] = []  # of the relays: each is told the lane of what was committed

    def reader(self, scope: Scope) -> Reader:
        return Reader(self._collections, scope, self.clock, self.shapes)

    def plumbing(self, name: str) -> Collection:
        return Collection(self._collections[name], {}, self.shapes)

    def inserts(self, name: str, *fields: str) -> Changes:
        """What is inserted into a collection from now on; of the documents only those fields are carried."""
        return Changes(self._plain[name], {"operationType": "insert"}, fields=fields, after_updates=False)

    def changes(self, match: Document, *, after: str | None = None, wait_ms: int = 500) -> Changes:
        """Committed changes of the whole database that match, after a position or from now on."""
        return Changes(self._plain, match, after=after, wait_ms=wait_ms)

    async def ping(self) -> None:
        await self.client.admin.command("ping")
        self.last_success = self.clock.monotonic()

    async def run(self, scope: Scope, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run a whole use case in one transaction, again from its start while the store says "transient".

        Raises what `work` raises; DuplicateKey when a unique index refused; Unavailable when the store did not answer
        within 5 s (nothing happened); CommitUnknown when it may have happened.
        """
        deadline, pause, duplicates = self.clock.monotonic() + _UNIT_DEADLINE_SECONDS, 0.002, 0
        repeated = False
        while True:
            try:
                return await self._attempt(scope, work, repeated=repeated)
            except PyMongoError as error:
                if _is_duplicate(error):
                    # A twin committed between our read and our write; the second run sees it.
                    duplicates += 1
                    if duplicates > 1:
                        raise DuplicateKey from None
                elif isinstance(error, OperationFailure) and not error.has_error_label(_TRANSIENT):
                    raise Unavailable from None
                if self.clock.monotonic() > deadline:
                    raise Unavailable from None
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter, not a secret
            repeated = True
            pause = min(pause * 2, 0.1)

    async def _attempt(self, scope: Scope, work: Callable[[UnitOfWork], Awaitable[T]], *, repeated: bool) -> T:
        session = AsyncIOMotorClientSession(self._driver.start_session(causal_consistency=False), self.client)
        session.start_transaction(
            read_concern=ReadConcern("snapshot"), write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
        )
        unit = UnitOfWork(self._collections, scope, self.clock, self.shapes, session, repeated=repeated)
        try:
            with pymongo.timeout(_UNIT_DEADLINE_SECONDS):
                result = await work(unit)
        except BaseException:
            await _to_its_end(self._in_thread(session.delegate.end_session))
            raise
        await _to_its_end(self._in_thread(self._finish, session.delegate, unit.pending))
        self.last_success = self.clock.monotonic()
        for lane in unit.lanes():
            for wake in self.wakers:
                wake(lane)
        unit.committed()
        return result

    def _in_thread(self, step: Callable[..., T], *arguments: object) -> Awaitable[T]:
        """In a thread of our own, in the caller's context: its span is the parent of the commands' spans."""
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(step, *arguments))

    def _finish(self, session: ClientSession, pending: Pending) -> None:
        """What waits to be written, and the commit: one visit to a thread for all of it."""
        try:
            with pymongo.timeout(_UNIT_DEADLINE_SECONDS):
                pending.finish(lambda name, writes: self._write(session, name, writes))
            self._commit(session)
        finally:
            session.end_session()

    def _write(self, session: ClientSession, name: str, writes: Sequence[Write]) -> Any:
        with command_span(named(writes), self._plain.name, name):
            return send(self._plain_collections[name], writes, session)

    def _commit(self, session: ClientSession) -> None:
        deadline = self.clock.monotonic() + _UNIT_DEADLINE_SECONDS
        while True:
            try:
                with pymongo.timeout(_UNIT_DEADLINE_SECONDS), command_span("commitTransaction", "admin", None):
                    session.commit_transaction()
                return
            except (ConnectionFailure, OperationFailure, WTimeoutError) as error:
                if not error.has_error_label(_UNKNOWN_COMMIT):
                    raise
                if self.clock.monotonic() > deadline:
                    raise CommitUnknown from None

    async def build_indexes(self, indexes: Mapping[str, Sequence[IndexModel]]) -> None:
        existing = set(await self.database.list_collection_names())
        for name, models in indexes.items():
            if name not in existing:
                await self.database.create_collection(name)
            if models:
                await self.database[name].create_indexes(list(models))

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        self.client.close()


def _is_duplicate(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        return any(row["code"] == _DUPLICATE_KEY for row in error.details["writeErrors"])
    return isinstance(error, OperationFailure) and error.code == _DUPLICATE_KEY


async def _to_its_end(step: Awaitable[T]) -> T:
    """No cancellation cuts it short: it is passed on when the step has ended, for a session has one user at a time."""
    task, cancelled = asyncio.ensure_future(step), False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()  # looked at, so that nobody misses it: whoever would hear of it is gone
        raise asyncio.CancelledError
    return task.result()


def as_document(identifier: str, now: datetime, **fields: Any) -> Document:
    """A new versioned document; the clinic is added by the collection."""
    return {
        "_id": identifier,
        "version": 1,
        "schema_version": SCHEMA_VERSION,
        "created_at": now,
        "updated_at": now,
    } | fields
