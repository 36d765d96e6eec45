"""What other processes tell in their beats while the store is gone: alarms that are not recorded (architecture, promise 2).

A member of no group: the beats topic has one partition, and every process reads all of it from its end.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.monitoring.memory import Unrecorded
from shared.clock import Clock
from shared.events.envelope import BadRecord, read_record
from shared.events.monitoring import EvaluatorBeat
from shared.messaging.kafka import stop_bounded
from shared.messaging.topics import BEATS

log = logging.getLogger(__name__)

HEARD_SECONDS = 15.0
START_SECONDS = 20.0


class HeardBeats:
    """The newest beat of every evaluator, forgotten after fifteen seconds."""

    def __init__(self, clock: Clock, connect: Callable[[], AIOKafkaConsumer]) -> None:
        self._clock, self._connect = clock, connect
        self._beats: dict[tuple[str, str], tuple[float, EvaluatorBeat]] = {}
        self.last_attempt = clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; a broker that is away is tried again: meanwhile this process knows of its own alarms alone."""
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            consumer = self._connect()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await consumer.start()
                await self._listen(consumer, stop)
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("beats.lost", extra={"error": type(error).__name__})
            finally:
                await stop_bounded(consumer)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)

    async def _listen(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        place = TopicPartition(BEATS.name, 0)
        consumer.assign([place])
        await consumer.seek_to_end(place)
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            for rows in (await consumer.getmany(timeout_ms=500)).values():
                for row in rows:
                    with contextlib.suppress(BadRecord):
                        envelope, value = read_record(row.headers, row.value)
                        self.hear(envelope.clinic_id, EvaluatorBeat.read(value or b""))

    def hear(self, clinic_id: str, beat: EvaluatorBeat) -> None:
        self._beats[(clinic_id, beat.evaluator)] = (self._clock.monotonic(), beat)

    def unrecorded(self, clinic_id: str) -> list[Unrecorded]:
        """Of a clinic, by whoever received the readings."""
        now = self._clock.monotonic()
        self._beats = {name: kept for name, kept in self._beats.items() if now - kept[0] < HEARD_SECONDS}
        return [
            Unrecorded(alarm.session_id, alarm.rule, alarm.priority, alarm.since)
            for (clinic, _), (_, beat) in self._beats.items()
            if clinic == clinic_id
            for alarm in beat.unrecorded
        ]
