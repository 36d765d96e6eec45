"""Alarms first: what the lanes of one process share is its event loop, and a turn of it is as long as all that is ready.

A page takes some forty turns from its alarm's row to the provider. Bulk batches are therefore few at once, and stand back
while alarm work is in hand: for a moment at most and then not for a while, so that an alarm lane that is always busy, or
in trouble, takes a fifth of the bulk lane's time and no more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

BULK_AT_ONCE = 4
STAND_BACK_SECONDS, THEN_FREE_SECONDS = 0.25, 1.0


class Precedence:
    """One per process, of its relays and consumers."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(BULK_AT_ONCE)
        self._in_hand = 0
        self._free_until = float("-inf")
        self._clear = asyncio.Event()
        self._clear.set()

    @contextlib.contextmanager
    def alarm(self) -> Iterator[None]:
        """Around alarm work, its waits for the store included."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """Alarm work is in hand from here to its `end`, wherever that is."""
        self._in_hand += 1
        self._clear.clear()

    def end(self) -> None:
        self._in_hand -= 1
        if not self._in_hand:
            self._clear.set()

    @contextlib.asynccontextmanager
    async def bulk(self) -> AsyncIterator[None]:
        """Around a batch of bulk work; entered in turn."""
        async with self._room:
            await self.stand_back()
            yield

    async def stand_back(self) -> None:
        """Between two steps of bulk work. Gives the loop a turn even when no alarm is there."""
        now = asyncio.get_running_loop().time
        if self._clear.is_set() or now() < self._free_until:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(STAND_BACK_SECONDS):
                await self._clear.wait()
        except TimeoutError:
            self._free_until = now() + THEN_FREE_SECONDS
