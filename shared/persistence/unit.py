"""Collections bound to a clinic, and the unit of work: what a use case sees of the store."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import ReturnDocument

from shared.clock import Clock
from shared.errors import NotFound, VersionConflict
from shared.persistence.pending import Pending
from shared.persistence.scope import Scope
from shared.persistence.shapes import Shapes
from shared.persistence.writes import Change, Discard, Document, Filter, Insert, Replace, Write, named, send
from shared.telemetry.commands import command_span

T = TypeVar("T")


class Collection:
    """One collection; all clinics for the plumbing (outbox, inbox, leases, timers, keys), else one.

    In a unit of work what returns nothing is written at its end, or before the next look at what it may be about: at the
    same document, or at more than one.
    """

    def __init__(self, raw: Any, fixed: Document, shapes: Shapes, unit: "UnitOfWork | None" = None) -> None:
        self._raw, self._fixed, self._shapes = raw, fixed, shapes
        self._pending = unit.pending if unit else None
        self._session = unit.session if unit else None

    def _where(self, query: Filter) -> Document:
        return {**query, **self._fixed}

    async def _settled(self, identifier: object = None) -> Any:
        """The driver's collection with this unit's own writes in it, or with those to one document."""
        if self._pending is not None and self._pending.concerns(self._raw.name, identifier):
            await self._pending.settle(self._raw.name, self._write)
        return self._raw

    async def _write(self, writes: Sequence[Write]) -> Any:
        return await self._told(named(writes), send(self._raw, writes, self._session))

    async def _told(self, command: str, answer: Awaitable[T]) -> T:
        with command_span(command, self._raw.database.name, self._raw.name):
            return await answer

    async def _later(self, *writes: tuple[object, Write]) -> None:
        """Each with the `_id` that it is about."""
        if self._pending is None:
            await self._write([write for _, write in writes])
            return
        for identifier, write in writes:
            self._pending.add(self._raw.name, write, identifier)

    async def find_one(self, query: Filter) -> Document | None:
        raw = await self._settled(query.get("_id"))
        found: Document | None = await self._told("find", raw.find_one(self._where(query), session=self._session))
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
        raw = await self._settled()
        cursor = raw.find(self._where(query), session=self._session, sort=list(sort), limit=limit)
        return [self._shapes.read(self._raw.name, row) for row in await self._told("find", cursor.to_list(None))]

    async def aggregate(self, stages: Sequence[Document]) -> list[Document]:
        """The fixed part of the filter comes first. Documents have the shape in which they were stored.

        Of other collections it sees what was there before this unit.
        """
        first = [{"$match": self._fixed}] if self._fixed else []
        cursor = (await self._settled()).aggregate([*first, *stages], session=self._session)
        rows: list[Document] = await self._told("aggregate", cursor.to_list(None))
        return rows

    async def count(self, query: Filter, *, limit: int | None = None) -> int:
        """With a limit no more are counted than that."""
        bound = {"limit": limit} if limit else {}
        raw = await self._settled()
        counting = raw.count_documents(self._where(query), session=self._session, **bound)
        return int(await self._told("aggregate", counting))

    async def insert(self, document: Document) -> None:
        await self.insert_many([document])

    async def insert_many(self, documents: Sequence[Document]) -> None:
        if documents:
            fixed = self._fixed
            await self._later(*[(row.get("_id"), Insert({**row, **fixed} if fixed else row)) for row in documents])

    async def put(self, document: Document) -> None:
        """Replace or make the document with this `_id`."""
        whole = {**document, **self._fixed}
        await self._later((document["_id"], Replace(self._where({"_id": document["_id"]}), whole, upsert=True)))

    async def change(self, query: Filter, change: Filter, *, upsert: bool = False) -> None:
        """`update` for one who need not know whether there was something to change."""
        await self._later((query.get("_id"), Change(self._where(query), change, upsert)))

    async def discard(self, query: Filter) -> None:
        """`delete` for one who need not know how many there were."""
        await self._later((query.get("_id"), Discard(self._where(query))))

    async def replace_versioned(self, document: Document) -> None:
        """Save a document whose `version` is the new one.

        Raises VersionConflict when it was not one behind: at the end of the unit, or before the next look.
        """
        query = self._where({"_id": document["_id"], "version": document["version"] - 1})
        write = Replace(query, {**document, **self._fixed})
        if self._pending is not None:
            self._pending.add(self._raw.name, write, document["_id"], versioned=True)
        elif (await self._write([write])).matched_count == 0:
            raise VersionConflict

    async def update(self, query: Filter, change: Filter | Sequence[Filter], *, upsert: bool = False) -> int:
        """Change one document; returns how many were matched or made."""
        raw = await self._settled()
        updating = raw.update_one(self._where(query), change, upsert=upsert, session=self._session)
        result = await self._told("update", updating)
        return int(result.matched_count) + (result.upserted_id is not None)

    async def change_and_get(self, query: Filter, change: Sequence[Filter], *, upsert: bool = False) -> Document:
        """Change or make one document, and read it as it is now, in one command."""
        raw = await self._settled()
        changing = raw.find_one_and_update(
            self._where(query), change, upsert=upsert, return_document=ReturnDocument.AFTER, session=self._session
        )
        made: Document = await self._told("findAndModify", changing)
        return made

    async def update_many(self, query: Filter, change: Filter) -> int:
        raw = await self._settled()
        updating = raw.update_many(self._where(query), change, session=self._session)
        return int((await self._told("update", updating)).modified_count)

    async def delete(self, query: Filter) -> int:
        raw = await self._settled()
        deleting = raw.delete_many(self._where(query), session=self._session)
        return int((await self._told("delete", deleting)).deleted_count)


class Collections(dict[str, Any]):
    """A database's by their names, each made once: the driver makes a new one at every look."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def __missing__(self, name: str) -> Any:
        made = self[name] = self._database[name]
        return made


class Reader:
    """Reads of one clinic outside a transaction, majority-committed."""

    def __init__(self, raw: Collections, scope: Scope, clock: Clock, shapes: Shapes) -> None:
        self._raw, self.scope, self.clock, self.shapes = raw, scope, clock, shapes
        self.memo: dict[str, Any] = {}  # what was read on behalf of this caller and need not be read twice

    def beside(self) -> "Reader":
        """What is committed, whatever this unit is about to write."""
        return Reader(self._raw, self.scope, self.clock, self.shapes)

    def collection(self, name: str) -> Collection:
        """The clinic's part of a collection: every filter and every document gets the clinic."""
        return Collection(self._raw[name], {"clinic_id": self.scope.clinic_id}, self.shapes)

    def plumbing(self, name: str) -> Collection:
        """A collection without the clinic filter; for `shared` alone (an architecture test holds services to that)."""
        return Collection(self._raw[name], {}, self.shapes)


class UnitOfWork(Reader):
    """One transaction. May be run again from the start, so nothing in it may have an outside effect.

    `repeated`: it was run before and refused, maybe for a key that exists: what is rarely there is looked for only now.
    """

    def __init__(
        self,
        raw: Collections,
        scope: Scope,
        clock: Clock,
        shapes: Shapes,
        session: AsyncIOMotorClientSession,
        *,
        repeated: bool = False,
    ) -> None:
        super().__init__(raw, scope, clock, shapes)
        self.session, self.repeated = session, repeated
        self.pending = Pending()
        self._staged: dict[str, list[Document]] = {}
        self._ordinals: Counter[str] = Counter()
        self._after_commit: list[Callable[[], None]] = []

    def under(self, scope: Scope) -> "UnitOfWork":
        """The same transaction on behalf of another scope: a consumer's batch holds events of several clinics."""
        other = UnitOfWork(self._raw, scope, self.clock, self.shapes, self.session, repeated=self.repeated)
        other.pending, other._staged, other.memo = self.pending, self._staged, self.memo
        other._ordinals, other._after_commit = self._ordinals, self._after_commit
        return other

    def collection(self, name: str) -> Collection:
        return Collection(self._raw[name], {"clinic_id": self.scope.clinic_id}, self.shapes, self)

    def plumbing(self, name: str) -> Collection:
        return Collection(self._raw[name], {}, self.shapes, self)

    def stage(self, name: str, document: Document) -> None:
        """Insert a row of the plumbing that no use case reads (outbox, audit, inbox)."""
        self._staged.setdefault(name, []).append(document)
        self.pending.add(name, Insert(document), document.get("_id"))

    def staged(self, name: str) -> list[Document]:
        return self._staged.get(name, [])

    def next_ordinal(self, aggregate: str) -> int:
        self._ordinals[aggregate] += 1
        return self._ordinals[aggregate]

    def after_commit(self, wake: Callable[[], None]) -> None:
        """Register a wake-up signal. Not for effects: a crash right after the commit loses it."""
        self._after_commit.append(wake)

    def lanes(self) -> set[str]:
        """Of the outbox rows that this unit writes."""
        return {row["lane"] for row in self._staged.get("outbox", ())}

    def committed(self) -> None:
        for wake in self._after_commit:
            wake()
