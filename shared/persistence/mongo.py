"""The only module that knows the driver (ADR 2): client, unit of work, collections bound to a clinic.

Every concern is stated, on the client and on every transaction: `w:majority, j:true`, reads `majority`, inside a
transaction `snapshot` (Jepsen, MongoDB 4.2.6: transaction options silently override those of the database).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorClientSession
from pymongo import IndexModel, ReadPreference
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError, WTimeoutError
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from shared.clock import Clock
from shared.errors import CommitUnknown, NotFound, Unavailable, VersionConflict
from shared.persistence.scope import Scope
from shared.persistence.shapes import Shapes
from shared.telemetry.commands import CommandSpans

Document = dict[str, Any]
Filter = Mapping[str, Any]
T = TypeVar("T")
StoreFault = PyMongoError  # what a read outside `run` raises when the store does not answer; its text may hold values

DURABLE = WriteConcern(w="majority", j=True)
SCHEMA_VERSION = 1
_UNIT_DEADLINE_SECONDS = 5.0
_TRANSIENT = "TransientTransactionError"
_UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
_DUPLICATE_KEY = 11000


class Collection:
    """One collection, all clinics: for the plumbing (outbox, inbox, leases, timers, keys)."""

    def __init__(self, raw: Any, session: AsyncIOMotorClientSession | None, fixed: Document, shapes: Shapes) -> None:
        self._raw, self._session, self._fixed, self._shapes = raw, session, fixed, shapes

    def _where(self, query: Filter) -> Document:
        return {**query, **self._fixed}

    async def find_one(self, query: Filter) -> Document | None:
        found: Document | None = await self._raw.find_one(self._where(query), session=self._session)
        return found and self._shapes.read(self._raw.name, found)

    async def get(self, identifier: str) -> Document:
        """Raises NotFound, for another clinic's document too."""
        found = await self.find_one({"_id": identifier})
        if found is None:
            raise NotFound
        return found

    async def find(
        self, query: Filter, *, sort: Sequence[tuple[str, int]] = (("_id", 1),), limit: int = 0
    ) -> list[Document]:
        cursor = self._raw.find(self._where(query), session=self._session, sort=list(sort), limit=limit)
        return [self._shapes.read(self._raw.name, row) for row in await cursor.to_list(None)]

    async def aggregate(self, stages: Sequence[Document]) -> list[Document]:
        """The fixed part of the filter comes first. Documents have the shape in which they were stored."""
        first = [{"$match": self._fixed}] if self._fixed else []
        rows: list[Document] = await self._raw.aggregate([*first, *stages], session=self._session).to_list(None)
        return rows

    async def insert(self, document: Document) -> None:
        await self._raw.insert_one({**document, **self._fixed}, session=self._session)

    async def insert_many(self, documents: Sequence[Document]) -> None:
        if documents:
            await self._raw.insert_many([{**row, **self._fixed} for row in documents], session=self._session)

    async def update(self, query: Filter, change: Filter | Sequence[Filter], *, upsert: bool = False) -> int:
        """Change one document; returns how many were matched or made."""
        result = await self._raw.update_one(self._where(query), change, upsert=upsert, session=self._session)
        return int(result.matched_count) + (result.upserted_id is not None)

    async def update_many(self, query: Filter, change: Filter) -> int:
        result = await self._raw.update_many(self._where(query), change, session=self._session)
        return int(result.modified_count)

    async def put(self, document: Document) -> None:
        """Replace or make the document with this `_id`."""
        whole = {**document, **self._fixed}
        await self._raw.replace_one(self._where({"_id": document["_id"]}), whole, upsert=True, session=self._session)

    async def replace_versioned(self, document: Document) -> None:
        """Save a document whose `version` is the new one; raises VersionConflict when it was not one behind."""
        query = self._where({"_id": document["_id"], "version": document["version"] - 1})
        result = await self._raw.replace_one(query, {**document, **self._fixed}, session=self._session)
        if result.matched_count == 0:
            raise VersionConflict

    async def delete(self, query: Filter) -> int:
        result = await self._raw.delete_many(self._where(query), session=self._session)
        return int(result.deleted_count)

    async def count(self, query: Filter) -> int:
        return int(await self._raw.count_documents(self._where(query), session=self._session))


class Reader:
    """Reads of one clinic outside a transaction, majority-committed."""

    session: AsyncIOMotorClientSession | None = None

    def __init__(self, database: Any, scope: Scope, clock: Clock, shapes: Shapes) -> None:
        self._database, self.scope, self.clock, self._shapes = database, scope, clock, shapes

    def collection(self, name: str) -> Collection:
        """The clinic's part of a collection: every filter and every document gets the clinic."""
        fixed = {"clinic_id": self.scope.clinic_id}
        return Collection(self._database[name], self.session, fixed, self._shapes)

    def plumbing(self, name: str) -> Collection:
        """A collection without the clinic filter; for `shared` alone (an architecture test holds services to that)."""
        return Collection(self._database[name], self.session, {}, self._shapes)


class UnitOfWork(Reader):
    """One transaction. May be run again from the start, so nothing in it may have an outside effect."""

    def __init__(
        self, database: Any, scope: Scope, clock: Clock, shapes: Shapes, session: AsyncIOMotorClientSession
    ) -> None:
        super().__init__(database, scope, clock, shapes)
        self.session: AsyncIOMotorClientSession = session
        self._staged: dict[str, list[Document]] = {}
        self._ordinals: Counter[str] = Counter()
        self._after_commit: list[Callable[[], None]] = []

    def under(self, scope: Scope) -> "UnitOfWork":
        """The same transaction on behalf of another scope: a consumer's batch holds events of several clinics."""
        other = UnitOfWork(self._database, scope, self.clock, self._shapes, self.session)
        other._staged, other._ordinals, other._after_commit = self._staged, self._ordinals, self._after_commit
        return other

    def stage(self, name: str, document: Document) -> None:
        """Insert at the end of the transaction, with all others of that collection in one command."""
        self._staged.setdefault(name, []).append(document)

    def staged(self, name: str) -> list[Document]:
        return self._staged.get(name, [])

    def next_ordinal(self, aggregate: str) -> int:
        self._ordinals[aggregate] += 1
        return self._ordinals[aggregate]

    def after_commit(self, wake: Callable[[], None]) -> None:
        """Register a wake-up signal. Not for effects: a crash right after the commit loses it."""
        self._after_commit.append(wake)

    @property
    def emitted(self) -> bool:
        return "outbox" in self._staged

    async def flush(self) -> None:
        for name, rows in self._staged.items():
            await self.plumbing(name).insert_many(rows)

    def committed(self) -> None:
        for wake in self._after_commit:
            wake()


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
            event_listeners=[CommandSpans(), *listeners],
        )
        self.clock, self.shapes = clock, Shapes()
        self.database = self.client[database]
        self.last_success = float("-inf")
        self.wakers: list[Callable[[], None]] = []

    def reader(self, scope: Scope) -> Reader:
        return Reader(self.database, scope, self.clock, self.shapes)

    def plumbing(self, name: str) -> Collection:
        return Collection(self.database[name], None, {}, self.shapes)

    def inserts(self, name: str) -> Any:
        """A change stream of what is inserted from now on, without the documents; `try_next` waits up to half a second."""
        pipeline: list[Document] = [{"$match": {"operationType": "insert"}}, {"$project": {"_id": 1}}]
        return self.database[name].watch(pipeline, max_await_time_ms=500)

    async def ping(self) -> None:
        await self.client.admin.command("ping")
        self.last_success = self.clock.monotonic()

    async def run(self, scope: Scope, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run a whole use case in one transaction, again from its start while the store says "transient".

        Raises what `work` raises; DuplicateKey when a unique index refused; Unavailable when the store did not answer
        within 5 s (nothing happened); CommitUnknown when it may have happened.
        """
        deadline, pause, duplicates = self.clock.monotonic() + _UNIT_DEADLINE_SECONDS, 0.002, 0
        while True:
            try:
                return await self._attempt(scope, work)
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
            pause = min(pause * 2, 0.1)

    async def _attempt(self, scope: Scope, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        async with await self.client.start_session(causal_consistency=False) as session:
            unit = UnitOfWork(self.database, scope, self.clock, self.shapes, session)
            session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
            )
            try:
                result = await work(unit)
                await unit.flush()
            except BaseException:
                await asyncio.shield(_abort(session))
                raise
            await asyncio.shield(self._commit(session))
        self.last_success = self.clock.monotonic()
        if unit.emitted:
            for wake in self.wakers:
                wake()
        unit.committed()
        return result

    async def _commit(self, session: AsyncIOMotorClientSession) -> None:
        deadline = self.clock.monotonic() + _UNIT_DEADLINE_SECONDS
        while True:
            try:
                await session.commit_transaction()
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
        self.client.close()


def _is_duplicate(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        return any(row["code"] == _DUPLICATE_KEY for row in error.details["writeErrors"])
    return isinstance(error, OperationFailure) and error.code == _DUPLICATE_KEY


async def _abort(session: Any) -> None:
    if session.in_transaction:
        await session.abort_transaction()


def as_document(identifier: str, now: datetime, **fields: Any) -> Document:
    """A new versioned document; the clinic is added by the collection."""
    return {
        "_id": identifier,
        "version": 1,
        "schema_version": SCHEMA_VERSION,
        "created_at": now,
        "updated_at": now,
    } | fields
