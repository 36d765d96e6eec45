"""Tells the relays of the outbox rows that are committed, by whatever process. Only a hint: their looks are the truth."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol as Interface

from pymongo.errors import PyMongoError

from shared.messaging.outbox import OUTBOX
from shared.persistence.changes import PositionLost
from shared.persistence.mongo import Document, Mongo

log = logging.getLogger(__name__)


class Listener(Interface):
    """A relay, as the stream sees it."""

    def stream_opened(self) -> None:
        """From here on every row is brought."""

    def hear(self, rows: Sequence[Document]) -> None:
        """Rows of all lanes, in the order of their commits."""


class OutboxWatch:
    """One change stream per process. A stream that is lost begins anew at the present: nothing is owed to the past."""

    def __init__(self, mongo: Mongo, listeners: Sequence[Listener]) -> None:
        self._mongo, self._listeners = mongo, list(listeners)
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
        async with self._mongo.inserts(OUTBOX) as inserts:
            for listener in self._listeners:
                listener.stream_opened()
            while not stop.is_set():
                self.last_attempt = self._mongo.clock.monotonic()
                rows = [change.document for change in await inserts.batch() if change.document]
                for listener in self._listeners if rows else ():
                    listener.hear(rows)
