"""The writes of a transaction that wait: for its end, or for the next look at their collection.

A use case that makes six documents so pays for one visit to the store instead of six, and still reads its own writes.
"""

from collections.abc import Awaitable, Callable, Iterator
from itertools import groupby
from typing import Any

from shared.errors import VersionConflict
from shared.persistence.writes import Write


class Run:
    """Writes to one collection in their order, sent together; `versioned` ones must all find what they replace."""

    def __init__(self, writes: list[Write], *, versioned: bool) -> None:
        self.writes, self._versioned = writes, versioned

    def check(self, result: Any) -> None:
        """Of the driver, whatever it calls it. Raises VersionConflict."""
        if self._versioned and result.matched_count != len(self.writes):
            raise VersionConflict


class Pending:
    """By collection, in the order of the first write to each."""

    def __init__(self) -> None:
        self._writes: dict[str, list[tuple[bool, Write]]] = {}
        self._touched: dict[str, set[object]] = {}

    def add(self, name: str, write: Write, identifier: object, *, versioned: bool = False) -> None:
        """`identifier`: the `_id` of the one document that it is about, or whatever else it says of it."""
        self._writes.setdefault(name, []).append((versioned, write))
        self._touched.setdefault(name, set()).add(identifier if isinstance(identifier, str) else None)

    def names(self) -> list[str]:
        return list(self._writes)

    def concerns(self, name: str, identifier: object) -> bool:
        """Whether something that waits may be about the document with this `_id`."""
        touched = self._touched.get(name, set())
        return bool(touched) and (not isinstance(identifier, str) or None in touched or identifier in touched)

    def take(self, name: str) -> Iterator[Run]:
        """What is to be written there; from now on it waits no longer."""
        self._touched.pop(name, None)
        for versioned, writes in groupby(self._writes.pop(name, ()), key=lambda write: write[0]):
            yield Run([write for _, write in writes], versioned=versioned)

    async def settle(self, name: str, write: Callable[[list[Write]], Awaitable[Any]]) -> None:
        """Before somebody looks at this collection. Raises VersionConflict, and what the store raised."""
        for run in self.take(name):
            run.check(await write(run.writes))

    def finish(self, write: Callable[[str, list[Write]], Any]) -> None:
        """All of it. Raises VersionConflict, and what the store raised."""
        for name in self.names():
            for run in self.take(name):
                run.check(write(name, run.writes))
