"""Who looks at a board: one bounded queue each. Who does not keep up is cut, and gets a snapshot when it comes again."""

import asyncio
from collections import deque

from shared.web.streams import frame

QUEUE_FRAMES = 256
QUEUE_BYTES = 1024 * 1024


class Reader:
    """One open stream of a clinic's board. `cut` is set when nothing more may be waited for."""

    def __init__(self, clinic_id: str, until: float) -> None:
        self.clinic_id, self.until = clinic_id, until
        self.cut = asyncio.Event()
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, chunk: bytes) -> None:
        """Never waits."""
        if self._closed:
            return
        if len(self._frames) >= QUEUE_FRAMES or self._bytes + len(chunk) > QUEUE_BYTES:
            self._closed = True
            self._frames.clear()
            self.cut.set()
            self._wake.set()
            return
        self._frames.append(chunk)
        self._bytes += len(chunk)
        self._wake.set()

    def close(self, reason: str) -> None:
        """The last frame says why, so that the page comes again at once and without alarm."""
        self.put(frame("bye", {"reason": reason}))
        self._closed = True
        self._wake.set()

    async def next(self) -> bytes:
        """Everything that waits, at once; empty at the end."""
        while not self._frames and not self._closed:
            self._wake.clear()
            await self._wake.wait()
        chunk = b"".join(self._frames)
        self._frames.clear()
        self._bytes = 0
        return chunk
