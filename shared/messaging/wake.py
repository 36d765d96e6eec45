"""Wakes the relays when another process has committed outbox rows. Only a hint: the relay's sweep is the truth."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from pymongo.errors import PyMongoError

from shared.messaging.outbox import OUTBOX
from shared.persistence.changes import PositionLost
from shared.persistence.mongo import Mongo

log = logging.getLogger(__name__)


class OutboxWatch:
    """One change stream per process. A stream that is lost begins anew at the present: nothing is owed to the past."""

    def __init__(self, mongo: Mongo, wake: Sequence[Callable[[str], None]]) -> None:
        self._mongo, self._wake = mongo, list(wake)
        self.last_attempt = mongo.clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._mongo.clock.monotonic()
            try:
                await self._listen(stop)
            except (PyMongoError, PositionLost) as error:
                log.warning("outbox_watch.lost", extra={"error": type(error).__name__})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 1.0)

    async def _listen(self, stop: asyncio.Event) -> None:
        async with self._mongo.inserts(OUTBOX, "lane") as inserts:
            while not stop.is_set():
                self.last_attempt = self._mongo.clock.monotonic()
                for lane in {row.document["lane"] for row in await inserts.batch() if row.document}:
                    for wake in self._wake:
                        wake(lane)
