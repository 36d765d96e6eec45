"""The watch over monitoring: reads the beats topic and looks every second for what has fallen silent.

The beats reader is a member of no group: the topic has one partition, every process reads all of it from its end, and a
rebalance can neither delay a beat nor hide one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError

from services.notifications.store import unreadable_alarms, watched_clinics
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.watching import end_trouble, note_beat, report, report_unreadable
from services.notifications.watch import Finding, over, silent, together
from shared.errors import StillwaterError
from shared.events.envelope import BadRecord, read_record
from shared.events.monitoring import EvaluatorBeat
from shared.messaging.topics import BEATS
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope
from shared.telemetry.metrics import WATCH_LOOKED

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
CONNECT = timedelta(seconds=5)
LOOK_BACK = timedelta(days=1)


class Watch:
    """Two loops, `listen` and `look`. Findings are rows with ids of their own, so several processes page once."""

    def __init__(self, mongo: Mongo, deps: Deps, connect: Callable[[], AIOKafkaConsumer]) -> None:
        self._mongo, self._deps, self._connect = mongo, deps, connect
        self._listening_since: float | None = None
        self._reported: set[str] = set()
        self.last_listened = self.last_looked = mongo.clock.monotonic()

    async def listen(self, stop: asyncio.Event) -> None:
        """Until `stop`; a broker that is away is silence, and is found as such."""
        while not stop.is_set():
            self.last_listened = self._mongo.clock.monotonic()
            if self._listening_since is None:
                self._listening_since = self.last_listened
            consumer = self._connect()
            try:
                async with asyncio.timeout(20):
                    await consumer.start()
                place = TopicPartition(BEATS.name, 0)
                consumer.assign([place])
                await consumer.seek_to_end(place)
                while not stop.is_set():
                    self.last_listened = self._mongo.clock.monotonic()
                    for rows in (await consumer.getmany(timeout_ms=500)).values():
                        await self._take(rows)
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("beats.lost", extra={"error": type(error).__name__})
                await _pause(stop, 1.0)
            finally:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(5):
                        await consumer.stop()

    async def _take(self, rows: list[Any]) -> None:
        for row in rows:
            self.last_listened = self._mongo.clock.monotonic()
            try:
                envelope, value = read_record(row.headers, row.value)
                beat = EvaluatorBeat.read(value or b"")
            except BadRecord as error:
                log.warning("beats.unreadable", extra={"code": error.code})
                continue
            with contextlib.suppress(StillwaterError, PyMongoError):
                await self.take_beat(envelope.clinic_id, beat)

    async def take_beat(self, clinic_id: str, beat: EvaluatorBeat) -> None:
        async def work(unit: UnitOfWork) -> None:
            await note_beat(unit, self._deps, beat)

        await self._mongo.run(system_scope(clinic_id, "notifications.beats"), work)

    async def look(self, stop: asyncio.Event) -> None:
        """Until `stop`. The figure is of looks after silence alone: where nobody tries to listen it stops, and a rule outside fires."""
        while not stop.is_set():
            self.last_looked = self._mongo.clock.monotonic()
            try:
                since = self._may_have_heard_since()
                if since is not None:
                    await self.look_for_silence(since)
                await self.look_for_unreadable()
                if since is not None:
                    WATCH_LOOKED.set_to_current_time()
            except (StillwaterError, PyMongoError) as error:
                log.warning("watch.failed", extra={"error": type(error).__name__})
            await _pause(stop, LOOK_SECONDS)

    def _may_have_heard_since(self) -> datetime | None:
        """Counted from the first attempt, whether or not a broker answers: what began before is judged by what comes after."""
        if self._listening_since is None:
            return None
        listening = timedelta(seconds=self._mongo.clock.monotonic() - self._listening_since)
        return self._mongo.clock.system_now() - max(listening - CONNECT, timedelta())

    async def look_for_silence(self, since: datetime | None = None) -> None:
        """`since`: from when on this process may have heard what is said."""
        now = self._mongo.clock.system_now()
        for row in await watched_clinics(self._mongo):
            missed = silent(row, row["clinic_id"], now, since)
            found = [finding for finding in missed if finding.cause not in self._reported]
            for finding in together(found):
                await self._report(row["clinic_id"], finding)
            for finding in found:
                self._remember(finding.cause)
            for key in [key for key, trouble in row.get("told", {}).items() if over(trouble, now, since)]:
                await self._end_trouble(row["clinic_id"], key)

    async def _report(self, clinic_id: str, finding: Finding) -> None:
        async def work(unit: UnitOfWork) -> None:
            await report(unit, self._deps, finding)

        await self._mongo.run(system_scope(clinic_id, "notifications.watch"), work)

    async def _end_trouble(self, clinic_id: str, key: str) -> None:
        async def work(unit: UnitOfWork) -> None:
            await end_trouble(unit, self._deps, key)

        await self._mongo.run(system_scope(clinic_id, "notifications.watch"), work)

    async def look_for_unreadable(self) -> None:
        """An alarm that could not be read is a page; the fallback pager's, where even the clinic is unknown."""
        for letter in await unreadable_alarms(self._mongo, self._mongo.clock.system_now() - LOOK_BACK):
            await self._report_letter(letter)

    async def _report_letter(self, letter: Document) -> None:
        async def work(unit: UnitOfWork) -> None:
            await report_unreadable(unit, self._deps, letter)

        await self._mongo.run(system_scope(letter["clinic_id"], "notifications.watch"), work)

    def _remember(self, cause: str) -> None:
        """Spares the store; forgetting all of it at once costs one look per finding."""
        if len(self._reported) > 10_000:  # noqa: PLR2004 - a bound, no meaning
            self._reported.clear()
        self._reported.add(cause)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
