"""What the broker has acknowledged becomes `sent`: of a backlog at once, of a few rows a little later and together.

A mark waits for the store's journal, and on the same cores a record is on its way to its reader meanwhile: each would
hold up the other. Until then the rows are known here, and the looks in the store pass them over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

MARK_SECONDS = 0.05


class Marks:
    """Of one relay. A kill before the mark costs a repetition, which the inbox drops."""

    def __init__(self, mark: Callable[[list[str]], Awaitable[None]]) -> None:
        self._mark = mark
        self._waiting: list[str] = []
        self._under_way: list[str] = []
        self._hurry = asyncio.Event()
        self._marking: asyncio.Task[None] | None = None

    @property
    def named(self) -> list[str]:
        """Rows that have left and may still be found pending."""
        return [*self._under_way, *self._waiting]

    def add(self, identifiers: Sequence[str], *, at_once: bool) -> None:
        """Raises what the store raised at the mark before."""
        self.look()
        self._waiting += identifiers
        if at_once:
            self._hurry.set()
        if self._marking is None:
            self._marking = asyncio.create_task(self._all())

    def look(self) -> None:
        """Raises what the store raised at a mark that was put off: those rows are sent again."""
        if self._marking is not None and self._marking.done():
            marking, self._marking = self._marking, None
            marking.result()

    async def settle(self) -> None:
        """Returns when all are marked; raises what the store raised: those rows are sent again."""
        marking, self._marking = self._marking, None
        if marking is not None:
            self._hurry.set()
            await marking

    async def _all(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), MARK_SECONDS)
        self._hurry.clear()
        while self._waiting:
            self._under_way, self._waiting = self._waiting, []
            try:
                await self._mark(self._under_way)
            except BaseException:
                self._waiting = []
                raise
            finally:
                self._under_way = []
