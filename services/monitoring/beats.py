"""The evaluator's heartbeat: one record per clinic every five seconds, beside the outbox (ADR 4), and at once in trouble.

Its absence is an alarm in notifications, so nothing here may wait for the store.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.monitoring.memory import Memory
from shared.clock import Clock
from shared.events.envelope import Envelope, rfc3339
from shared.events.monitoring import EvaluatedSession, EvaluatorBeat, UnrecordedAlarm
from shared.ids import new_id
from shared.messaging.kafka import stop_bounded
from shared.messaging.topics import BEATS

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
SEND_SECONDS = 4.0


class Beats:
    """One per process that evaluates; `evaluator` names it."""

    def __init__(
        self, clock: Clock, memory: Memory, evaluator: str, open_producer: Callable[[], AIOKafkaProducer]
    ) -> None:
        self._clock, self._memory, self._evaluator, self._open = clock, memory, evaluator, open_producer
        self._producer: AIOKafkaProducer | None = None
        self._empty_said: set[str] = set()
        self.last_attempt = clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; a broker that is away is tried again with the next beat."""
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            self._memory.changed.clear()
            try:
                await self._beat()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("beat.failed", extra={"error": type(error).__name__})
                await self._discard()
            await self._wait(stop)
        await self._discard()

    async def _wait(self, stop: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._memory.changed)]
        try:
            await asyncio.wait(waits, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _beat(self) -> None:
        clinics = sorted(self._memory.clinics())
        if not clinics:
            return
        async with asyncio.timeout(SEND_SECONDS):
            producer = await self._open_producer()
            sent = []
            for clinic_id in clinics:
                beat = self.beat(clinic_id)
                headers = self._headers(clinic_id)
                value = beat.model_dump_json(exclude_none=True).encode()
                sent.append(await producer.send(BEATS.name, value, clinic_id.encode(), headers=headers))
            await asyncio.gather(*sent)

    def beat(self, clinic_id: str) -> EvaluatorBeat:
        """What this process can say of a clinic now."""
        stamps = self._memory.stamps(clinic_id)
        return EvaluatorBeat(
            evaluator=self._evaluator,
            at=self._clock.system_now(),
            store="gone" if self._memory.store_gone else "ok",
            sessions=[EvaluatedSession(session_id=name, last_evaluated_at=at) for name, at in stamps.items()],
            unrecorded=[
                UnrecordedAlarm(session_id=item.session_id, rule=item.rule, priority=item.priority, since=item.since)
                for item in self._memory.unrecorded(clinic_id)
            ],
            unsent_since=self._memory.unsent_since(clinic_id),
            ended=self._memory.ended(clinic_id),
        )

    def _headers(self, clinic_id: str) -> list[tuple[str, bytes]]:
        return Envelope(
            id=new_id(),
            source=f"/stillwater/monitoring/evaluator/{self._evaluator}",
            type=EvaluatorBeat.event_type(),
            time=rfc3339(self._clock.system_now()),
            clinic_id=clinic_id,
            partition_key=clinic_id,
        ).headers()

    async def _open_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = self._open()
            try:
                await producer.start()
            except BaseException:
                await stop_bounded(producer)
                raise
            self._producer = producer
        return self._producer

    async def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                await stop_bounded(producer)
