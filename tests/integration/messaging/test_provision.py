"""Topics have the copies that the settings ask for, and a process says which have not."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy import rights
from deploy.local import processes
from deploy.local.stack import COPIES, Stack
from shared.clock import SystemClock
from shared.messaging.kafka import KafkaAddress
from shared.messaging.provision import Copies, TopicFault, TopicWatch, ensure_topics, topic_faults, topics_in_use
from shared.messaging.topics import CONTACTS, MAX_BATCH_BYTES, SERVICES, Topic
from shared.telemetry.metrics import TOPIC_FAULTS
from tests.support.eventually import eventually

DAY_MS = 86_400_000


class Narrow(Topic):
    """Takes smaller batches than we send."""

    def config(self, min_insync_replicas: int) -> dict[str, str]:
        return super().config(min_insync_replicas) | {"max.message.bytes": str(MAX_BATCH_BYTES)}


def own(stores: Stack, service: str) -> KafkaAddress:
    env = stores.environment(service)
    return KafkaAddress(env[f"{service.upper()}_KAFKA_BOOTSTRAP_SERVERS"], service, stores.secrets[service])


def topic(name: str | None = None, partitions: int = 2) -> Topic:
    return Topic(name or f"test.{uuid4().hex}", "intake", (), partitions, DAY_MS)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_may_ask_for_all_that_it_uses_and_finds_it_sound(stores: Stack, service: str) -> None:
    assert await topic_faults(own(stores, service), COPIES, topics_in_use(service)) == []


async def test_each_property_that_falls_short_is_named(stores: Stack) -> None:
    address, absent = KafkaAddress(stores.kafka), topic()
    small = Narrow(topic().name, "intake", (), 2, DAY_MS)
    assert await ensure_topics(address, COPIES, [small]) == [small.name]
    assert await ensure_topics(address, COPIES, [small]) == []
    wanted = [topic(small.name, partitions=3), absent]
    assert await topic_faults(address, Copies(3, 2), wanted) == [
        TopicFault(absent.name, "missing", 1, 0),
        TopicFault(small.name, "partitions", 3, 2),
        TopicFault(small.name, "replicas", 3, 1),
        TopicFault(small.name, "min.insync.replicas", 2, 1),
        TopicFault(small.name, "max.message.bytes", 4 * MAX_BATCH_BYTES, MAX_BATCH_BYTES),
    ]


async def test_topics_are_made_with_the_copies_of_the_settings(stores: Stack) -> None:
    address, new = KafkaAddress(stores.kafka), topic()
    await ensure_topics(address, Copies(1, 2), [new])
    assert await topic_faults(address, Copies(1, 2), [new]) == []
    with pytest.raises(KafkaError, match="eplication factor"):
        await ensure_topics(address, Copies(3, 2), [topic()])


async def test_the_watch_counts_what_falls_short_and_knows_when_the_broker_is_away(
    stores: Stack, stop: asyncio.Event
) -> None:
    watch = TopicWatch(SystemClock(), "intake", own(stores, "intake"), Copies(1, 2))
    running = asyncio.create_task(watch.run(stop))

    async def heard() -> bool:
        return watch.answers

    await eventually(heard, 15)
    stop.set()
    await running
    assert TOPIC_FAULTS._value.get() == len(topics_in_use("intake"))
    nobody = KafkaAddress(f"127.0.0.1:{processes.free_port()}")
    away = TopicWatch(SystemClock(), "intake", nobody, COPIES)
    with pytest.raises(KafkaError):
        await away.look()
    assert not away.answers


async def test_a_topic_whose_settings_may_not_be_read_is_named(stores: Stack) -> None:
    """As with permissions of an earlier version: intake may write and describe its own copy, and no more."""
    new = topic()
    await ensure_topics(KafkaAddress(stores.kafka), COPIES, [new])
    admin = AIOKafkaAdminClient(bootstrap_servers=stores.kafka)
    await admin.start()
    try:
        await rights._allow(admin, rights._TOPIC, new.name, "intake", rights._WRITE)
    finally:
        await admin.close()
    assert await topic_faults(own(stores, "intake"), COPIES, [new]) == [TopicFault(new.name, "unreadable", 1, 0)]


async def test_a_restricted_topic_is_not_even_described_to_others(stores: Stack) -> None:
    assert await topic_faults(own(stores, "scheduling"), COPIES, [CONTACTS]) == [
        TopicFault(CONTACTS.name, "missing", 1, 0)
    ]
