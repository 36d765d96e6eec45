"""Topics as they must be in the broker: made where they are missing, and looked at where they are there."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from shared.clock import Clock
from shared.messaging.kafka import KafkaAddress
from shared.messaging.topics import TOPICS, Topic
from shared.telemetry.metrics import TOPIC_FAULTS

log = logging.getLogger(__name__)

LOOK_SECONDS, ANSWER_SECONDS = 15.0, 10.0
SILENT_SECONDS = 2 * (LOOK_SECONDS + ANSWER_SECONDS)
_ALREADY_EXISTS = 36
_LEAST = ("min.insync.replicas", "max.message.bytes")


@dataclass(frozen=True)
class Copies:
    """How many replicas a topic has at least, and how many of them must hold a record before it counts as written."""

    replication_factor: int
    min_insync_replicas: int


@dataclass(frozen=True)
class TopicFault:
    """`what` is `missing`, `partitions`, `replicas`, `unreadable` (its settings are) or the name of a topic's setting."""

    topic: str
    what: str
    wanted: int
    found: int

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}: wanted {self.wanted}, found {self.found}"


def topics_in_use(service: str) -> list[Topic]:
    """Those that the service writes or reads."""
    return [topic for topic in TOPICS if service == topic.producer or service in topic.readers]


async def ensure_topics(address: KafkaAddress, copies: Copies, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Create what is missing; returns the names that were created. Auto-creation is off in the broker."""
    async with _admin(address) as admin:
        present = set(await admin.list_topics())
        missing = [
            NewTopic(
                topic.name,
                topic.partitions,
                copies.replication_factor,
                topic_configs=topic.config(copies.min_insync_replicas),
            )
            for topic in topics
            if topic.name not in present
        ]
        if missing:
            _raise_refused(await admin.create_topics(missing))
        return [topic.name for topic in missing]


def _raise_refused(answer: Any) -> None:
    """Raises KafkaError: the broker refuses each topic by itself, for example for want of brokers."""
    for name, code, *text in answer.topic_errors:
        if code not in (0, _ALREADY_EXISTS):
            raise KafkaError(f"{name}: {text[0] if text else code}")


async def topic_faults(address: KafkaAddress, copies: Copies, topics: Sequence[Topic] = TOPICS) -> list[TopicFault]:
    """What falls short of the settings. Raises KafkaError while the broker cannot be asked."""
    async with _admin(address) as admin:
        names = [topic.name for topic in topics]
        replicas = {row["topic"]: _replicas(row) for row in await admin.describe_topics(names) if not row["error_code"]}
        present = [topic for topic in topics if topic.name in replicas]
        configs = await _configs(admin, [topic.name for topic in present])
    faults = [TopicFault(topic.name, "missing", 1, 0) for topic in topics if topic not in present]
    for topic in present:
        found = replicas[topic.name]
        if len(found) != topic.partitions:
            faults.append(TopicFault(topic.name, "partitions", topic.partitions, len(found)))
        if not configs[topic.name]:
            faults.append(TopicFault(topic.name, "unreadable", 1, 0))
        wanted = topic.config(copies.min_insync_replicas)
        least = {"replicas": (copies.replication_factor, min(found))}
        least |= {name: (int(wanted[name]), int(text)) for name, text in configs[topic.name].items()}
        faults += [TopicFault(topic.name, what, *pair) for what, pair in least.items() if pair[1] < pair[0]]
    return faults


def _replicas(row: Mapping[str, Any]) -> list[int]:
    """How many there are of each partition."""
    return [len(partition["replicas"]) for partition in row["partitions"]]


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Of each topic, in the order of `_LEAST`; empty where they may not be read."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(_LEAST)) for name in names]
    answers = await admin.describe_configs(resources)
    rows = [
        (name, {entry[0]: entry[1] for entry in entries}) for one in answers for _, _, _, name, entries in one.resources
    ]
    return {name: {key: found[key] for key in _LEAST if key in found} for name, found in rows}


@contextlib.asynccontextmanager
async def _admin(address: KafkaAddress) -> Any:
    admin = AIOKafkaAdminClient(**address.options())
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


class TopicWatch:
    """Looks at start and every 15 s. A topic that falls short is logged once and counted; it stops nothing.

    `answers` tells whether the broker was heard lately.
    """

    def __init__(self, clock: Clock, service: str, address: KafkaAddress, copies: Copies) -> None:
        self._clock, self._service, self._address, self._copies = clock, service, address, copies
        self._known: set[TopicFault] = set()
        self._heard = float("-inf")
        self.last_attempt = clock.monotonic()

    @property
    def answers(self) -> bool:
        return self._clock.monotonic() - self._heard < SILENT_SECONDS

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.last_attempt = self._clock.monotonic()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self.look()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("topics.unseen", extra={"error": type(error).__name__})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

    async def look(self) -> None:
        """Raises KafkaError."""
        found = set(await topic_faults(self._address, self._copies, topics_in_use(self._service)))
        self._heard = self._clock.monotonic()
        TOPIC_FAULTS.set(len(found))
        for fault in sorted(found - self._known, key=str):
            said = {"topic": fault.topic, "code": fault.what, "wanted": fault.wanted, "found": fault.found}
            log.error("topic.below_settings", extra=said)
        self._known = found
