"""The faults, by name. Each leaves the system running again."""

import asyncio
import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local import processes
from shared.messaging.topics import ALARMS, BULK
from tests.faults.run import Act
from tests.faults.system import System


def killed(name: str, down_s: float = 0.0) -> Act:
    async def act(system: System) -> None:
        await system.kill(name, down_s)

    return act


def paused(name: str, seconds: float = 15.0) -> Act:
    async def act(system: System) -> None:
        await system.pause(name, seconds)

    return act


async def poison(system: System) -> None:
    """Bytes that nobody can read, between good records of both lanes."""
    async with AIOKafkaProducer(bootstrap_servers=system.stack.kafka) as producer:
        for number in range(12):
            await producer.send_and_wait(BULK["intake"].name, b"\x00poison", partition=number)


async def refused(system: System) -> None:
    """A row that no broker takes, between good rows: it alone is dead; then an operator drops it."""
    outbox = system.client.intake.outbox
    template = await outbox.find_one({"state": "sent"})
    bad = {**template, "_id": f"{template['_id'][:-4]}bad0", "state": "pending", "value": b"x" * 950_000}
    await outbox.insert_one({**bad, "aggregate": "inquiry/refused"})
    deadline = time.monotonic() + 20
    while (await outbox.find_one({"_id": bad["_id"]}))["state"] != "dead":
        assert time.monotonic() < deadline, "the refused row is not dead"
        await asyncio.sleep(0.1)
    await outbox.update_one({"_id": bad["_id"]}, {"$set": {"state": "dropped"}})


async def twice(system: System) -> None:
    """A second worker of intake and of notifications: two relays at once, and a rebalance in the middle of handlers."""
    extra = []
    for name in ("intake-worker", "notifications-worker"):
        part = system.part(name)
        twin = type(part)(f"{name}-twin", part.service, part.role, processes.free_port(), processes.free_port())
        await asyncio.to_thread(system.stack.start_part, twin)
        await asyncio.to_thread(system.stack.wait_ready, twin)
        extra.append(twin)
    await asyncio.sleep(2)
    for twin in extra:
        await asyncio.to_thread(processes.stop, system.stack.home, [twin.name])


async def replayed(system: System) -> None:
    """Offsets set back to zero: everything comes again and takes no effect again."""
    name = "notifications-worker"
    await asyncio.to_thread(processes.stop, system.stack.home, [name])
    for group, topic in (("stillwater.notifications", BULK["intake"]), ("stillwater.notifications.alarms", ALARMS)):
        places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=system.stack.kafka, group_id=group) as consumer:
            consumer.assign(places)
            await consumer.commit(dict.fromkeys(places, 0))
    await asyncio.to_thread(system.start, name)


FAULTS: Mapping[str, Act] = {
    "kill intake-api": killed("intake-api"),
    "kill intake-worker": killed("intake-worker"),
    "kill monitoring-api": killed("monitoring-api"),
    "kill monitoring-worker": killed("monitoring-worker"),
    "kill notifications-worker": killed("notifications-worker"),
    "kill mongod": killed("mongod"),
    "kill kafka": killed("kafka", 5),
    "pause monitoring-worker": paused("monitoring-worker"),
    "pause notifications-worker": paused("notifications-worker"),
    "pause mongod": paused("mongod"),
    "pause kafka": paused("kafka"),
    "poison": poison,
    "refused row": refused,
    "two workers": twice,
    "offsets to zero": replayed,
}
LONG: Mapping[str, Act] = {"kafka away for a minute": killed("kafka", 60), "mongod away": killed("mongod", 20)}
