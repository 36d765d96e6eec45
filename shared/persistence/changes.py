"""What is committed in a service's database, as it happens, with positions from which any process can go on.

A position is the store's own resume token; it outlives the process that read it, for as long as the store keeps its
history (the oplog).
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from pymongo.errors import OperationFailure

from shared.persistence.writes import Document

T = TypeVar("T")
_POSITION = re.compile(r"[0-9A-Fa-f]{2,1024}")
_ABOUT = {"operationType": 1, "ns": 1, "documentKey": 1}
_RESUMABLE = "ResumableChangeStreamError"
_LOST = frozenset({260, 280, 286})  # InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost
_OF_OTHER_THINGS = frozenset({13, 18, 50})  # not allowed, not authenticated, not in time


class PositionLost(Exception):
    """The store cannot go on from there: too old, or never one of its positions."""


@dataclass(frozen=True)
class Change:
    """`operation`: "insert", "replace", "update" or "delete". `document` is as after it; None when it is gone."""

    position: str
    operation: str
    collection: str
    identifier: Any
    document: Document | None


class Changes:
    """Read in a thread of its own and handed over in whole batches: a change costs the event loop next to nothing.

    `source` is a collection or a database, `fields` the paths of the documents that are wanted (none named: all of
    them); `after_updates`: what was updated is looked up as it is by then. Use it as a context manager. One reader at a time.
    """

    def __init__(
        self,
        source: Any,
        match: Document,
        *,
        after: str | None = None,
        wait_ms: int = 500,
        fields: Sequence[str] = (),
        after_updates: bool = True,
    ) -> None:
        self._lookup = "updateLookup" if after_updates else None
        self._source, self._match, self._after, self._wait_ms = source, match, after, wait_ms
        self._fields = _ABOUT | ({f"fullDocument.{name}": 1 for name in fields} or {"fullDocument": 1})
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="changes")
        self._stream: Any = None

    async def __aenter__(self) -> Self:
        """Raises PositionLost, PyMongoError."""
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._stream.close)
        self._thread.shutdown(wait=False)

    @property
    def position(self) -> str:
        """Everything up to here was handed over."""
        return str(self._stream.resume_token["_data"])

    async def batch(self) -> Sequence[Change]:
        """What has come; empty when nothing did within the wait. Raises PositionLost, PyMongoError."""
        return await self._in_thread(self._drain)

    async def _in_thread(self, step: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, step)
        except OperationFailure as error:
            if error.code in _LOST or self._is_about_position(error):
                raise PositionLost from None
            raise

    def _is_about_position(self, error: OperationFailure) -> bool:
        """A made-up position is refused with codes of many kinds."""
        about_others = error.code in _OF_OTHER_THINGS or error.has_error_label(_RESUMABLE)
        return self._after is not None and not about_others

    def _open(self) -> None:
        if self._after is not None and not _POSITION.fullmatch(self._after):
            raise PositionLost
        stages: list[Document] = [{"$match": self._match}, {"$project": self._fields}]
        after = {"_data": self._after} if self._after is not None else None
        self._stream = self._source.watch(
            stages, full_document=self._lookup, resume_after=after, max_await_time_ms=self._wait_ms
        )

    def _drain(self) -> list[Change]:
        found = []
        row = self._stream.try_next()
        while row is not None:
            found.append(_change(row))
            cursor = self._stream._cursor  # noqa: SLF001 - the driver does not say where a batch ends
            row = self._stream.try_next() if cursor._has_next() else None  # noqa: SLF001
        return found


def _change(row: Document) -> Change:
    about = (row["operationType"], row["ns"]["coll"], row["documentKey"]["_id"])
    return Change(row["_id"]["_data"], *about, row.get("fullDocument"))
