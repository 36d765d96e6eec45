"""How we connect to Kafka; aiokafka's defaults (acks=1, no idempotence, auto-commit) are all overridden here."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner, murmur2

from shared.messaging.topics import MAX_BATCH_BYTES, MAX_REQUEST_BYTES
from shared.settings import ServiceSettings

STOP_SECONDS = 5.0
FETCH_MS = 500  # how long the broker holds a fetch while there is nothing; what comes is answered at once
REBALANCE_MS = 10_000
HASHES = 50_000
_ANYWHERE = DefaultPartitioner()
REQUEST_MS = REBALANCE_MS + 2_000  # a way that is half open is noticed by this alone; joining a group takes a rebalance


@dataclass(frozen=True)
class KafkaAddress:
    """Bootstrap servers and, where there is SASL, the service's own user."""

    bootstrap_servers: str
    username: str | None = None
    password: str | None = None
    security_protocol: str = "SASL_PLAINTEXT"

    @classmethod
    def of(cls, settings: ServiceSettings) -> "KafkaAddress":
        password = settings.kafka_password.get_secret_value() if settings.kafka_password else None
        return cls(
            settings.kafka_bootstrap_servers, settings.kafka_username, password, settings.kafka_security_protocol
        )

    def options(self) -> dict[str, Any]:
        if self.username is None:
            return {"bootstrap_servers": self.bootstrap_servers}
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }


def new_producer(address: KafkaAddress, client_id: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=10_000,
        partitioner=_partition,
        **address.options(),
    )


def _partition(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """Where every Kafka client puts this key: `DefaultPartitioner`, which would hash it anew for each of its records."""
    if key is None:
        return int(_ANYWHERE(None, partitions, available))
    return partitions[_hash(key) % len(partitions)]


@lru_cache(HASHES)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def new_consumer(address: KafkaAddress, group: str, client_id: str, *, session_timeout_ms: int) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        group_id=group,
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=session_timeout_ms,
        heartbeat_interval_ms=session_timeout_ms // 5,
        max_poll_interval_ms=300_000,
        rebalance_timeout_ms=REBALANCE_MS,
        request_timeout_ms=REQUEST_MS,
        fetch_max_wait_ms=FETCH_MS,
        **address.options(),
    )


async def stop_bounded(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """`stop()` may hang for ever while the broker is down (aiokafka 1101); after the bound it is torn down."""
    try:
        await asyncio.wait_for(client.stop(), STOP_SECONDS)
    except (TimeoutError, asyncio.CancelledError, Exception):  # noqa: BLE001 - a client that is thrown away
        if isinstance(client, AIOKafkaConsumer):
            await _tear_down(client)


async def _tear_down(consumer: AIOKafkaConsumer) -> None:
    """Without this its heartbeats would go on, and with them its membership: of partitions that nobody reads."""
    coordinator = consumer._coordinator  # noqa: SLF001 - aiokafka has no way to close without a goodbye (0.14.0)
    for name in ("_coordination_task", "_heartbeat_task", "_commit_refresh_task"):
        task = getattr(coordinator, name, None)
        if task is not None:
            task.cancel()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(consumer._client.close(), STOP_SECONDS)  # noqa: SLF001


async def kill(producer: AIOKafkaProducer) -> None:
    """Throw a producer away without its buffer: nothing that it holds may leave after this. Bounded.

    `stop()` would flush, and where it is cut short its sender task goes on and delivers when the broker is back.
    """
    producer._closed = True  # noqa: SLF001 - aiokafka has no way to close without a flush (0.14.0)
    for closing in (producer._sender.close(), producer.client.close()):  # noqa: SLF001
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await asyncio.wait_for(closing, STOP_SECONDS)
