"""One write each, of a document or of all that match: sent alone as it is, with others as one bulk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import DeleteMany, InsertOne, ReplaceOne, UpdateOne

Document = dict[str, Any]
Filter = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Insert:
    name = "insert"
    document: Document

    def alone(self, raw: Any, session: Any) -> Any:
        return raw.insert_one(self.document, session=session)

    def one_of_many(self) -> InsertOne[Document]:
        return InsertOne(self.document)


@dataclass(frozen=True, slots=True)
class Replace:
    name = "update"
    query: Filter
    document: Document
    upsert: bool = False

    def alone(self, raw: Any, session: Any) -> Any:
        return raw.replace_one(self.query, self.document, upsert=self.upsert, session=session)

    def one_of_many(self) -> ReplaceOne[Document]:
        return ReplaceOne(self.query, self.document, upsert=self.upsert)


@dataclass(frozen=True, slots=True)
class Change:
    name = "update"
    query: Filter
    change: Filter
    upsert: bool = False

    def alone(self, raw: Any, session: Any) -> Any:
        return raw.update_one(self.query, self.change, upsert=self.upsert, session=session)

    def one_of_many(self) -> UpdateOne:
        return UpdateOne(self.query, self.change, upsert=self.upsert)


@dataclass(frozen=True, slots=True)
class Discard:
    name = "delete"
    query: Filter

    def alone(self, raw: Any, session: Any) -> Any:
        return raw.delete_many(self.query, session=session)

    def one_of_many(self) -> DeleteMany:
        return DeleteMany(self.query)


Write = Insert | Replace | Change | Discard


def send(raw: Any, writes: Sequence[Write], session: Any) -> Any:
    """The driver's result of one collection's writes, or what is awaited for it: a bulk costs it more than one alone."""
    if len(writes) == 1:
        return writes[0].alone(raw, session)
    return raw.bulk_write([write.one_of_many() for write in writes], session=session)


def named(writes: Sequence[Write]) -> str:
    """The command as it is told in a span."""
    names = {write.name for write in writes}
    return names.pop() if len(names) == 1 else "bulkWrite"
