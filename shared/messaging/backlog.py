"""The outbox is bounded: at its row limit nobody may make more, so that a long absence of Kafka does not fill the disk."""

import asyncio
import contextlib
import logging

from shared.errors import StillwaterError
from shared.messaging.outbox import OUTBOX, PENDING
from shared.persistence.mongo import Mongo, StoreFault

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


class Backlog:
    """Looks every five seconds; `full()` answers from the last look. Vitals and alarms never ask."""

    def __init__(self, mongo: Mongo, max_rows: int) -> None:
        self._mongo, self._max_rows, self._full = mongo, max_rows, False
        self.last_attempt = mongo.clock.monotonic()

    def full(self) -> bool:
        return self._full

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                await self.look()
            except (StillwaterError, StoreFault) as error:
                log.warning("backlog.failed", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

    async def look(self) -> None:
        waiting = await self._mongo.plumbing(OUTBOX).count(PENDING, limit=self._max_rows)
        if (waiting >= self._max_rows) != self._full:
            self._full = not self._full
            log.error("backlog.full" if self._full else "backlog.over", extra={"count": waiting})
