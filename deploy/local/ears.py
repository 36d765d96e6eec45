"""What the day causes, heard on the topics as any consumer would hear it."""

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.processes import StackError
from shared.events.envelope import Event, read_record
from shared.messaging.topics import BEATS, TOPICS

START_SECONDS = 20.0


class Ears:
    """In a thread of its own: every record from now on, of every topic but the beats. Reads types and keys, nothing else."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._heard: deque[tuple[str, str]] = deque()
        self._taking = threading.Lock()
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)

    def __enter__(self) -> Self:
        """Raises StackError when the broker does not answer."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise StackError(f"Kafka does not answer at {self._servers}. Is the stack up (`make up`)?")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(START_SECONDS)

    def take(self, event: type[Event], key: str | None = None) -> str | None:
        """The name of an event of this class, and of this key, that was heard and not taken yet, as its record gives it."""
        with self._taking:
            found = next((row for row in self._heard if row[0] == event.event_type() and key in (None, row[1])), None)
            if found is None:
                return None
            self._heard.remove(found)
        return event.event_type().split(".")[-2]

    async def _listen(self) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers)
        await consumer.start()
        try:
            places = [
                TopicPartition(topic.name, no) for topic in TOPICS if topic != BEATS for no in range(topic.partitions)
            ]
            consumer.assign(places)
            await consumer.seek_to_end(*places)
            self._ready.set()
            while not self._stop.is_set():
                found: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=200)
                read = [read_record(row.headers, row.value)[0] for rows in found.values() for row in rows]
                with self._taking:
                    self._heard += [(envelope.type, envelope.partition_key) for envelope in read]
        finally:
            await consumer.stop()
