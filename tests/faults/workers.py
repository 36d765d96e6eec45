"""Faults of the chain: bad records and rows, two of a kind, groups and offsets, clocks."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local import kafka_broker, processes
from deploy.local.stack import Part
from shared.messaging.topics import ALARMS, BULK
from tests.faults.stores import slow_commits
from tests.faults.system import System
from tests.support.eventually import eventually

STALL_SECONDS = 12.0
TWIN_REQUESTS = 15
COMMIT_SECONDS = 5.0
JUMPS = ((600, 0), (-600, 600), (0, -600), (0, 0))
WALL_CLOCK = Path(__file__).parent / "wall_clock.c"
JUMP_REQUESTS = 45


async def poison(system: System) -> None:
    """Bytes that nobody can read, between good records."""
    async with AIOKafkaProducer(bootstrap_servers=system.stack.kafka) as producer:
        for number in range(BULK["intake"].partitions):
            await producer.send_and_wait(BULK["intake"].name, b"\x00poison", partition=number)


async def refused(system: System) -> None:
    """A row that no broker takes, between good rows: it alone is dead; then an operator drops it."""
    outbox = system.client.intake.outbox
    template = await outbox.find_one({"state": "sent"})
    bad = {**template, "_id": f"{template['_id'][:-12]}{uuid4().hex[:12]}", "state": "pending", "value": b"x" * 950_000}
    await outbox.insert_one({**bad, "aggregate": "inquiry/refused"})

    async def dead() -> bool:
        return bool(await outbox.find_one({"_id": bad["_id"], "state": "dead"}))

    await eventually(dead, 60, 0.1)
    await outbox.update_one({"_id": bad["_id"]}, {"$set": {"state": "dropped"}})


@contextlib.asynccontextmanager
async def _twins(system: System, names: Sequence[str]) -> AsyncIterator[list[str]]:
    """A second process beside each of these."""
    made = []
    for name in names:
        part = system.part(name)
        twin = Part(f"{name}-twin", part.service, part.role, processes.free_port(), processes.free_port())
        await asyncio.to_thread(system.stack.start_part, twin)
        made.append(twin)
    for twin in made:
        await asyncio.to_thread(system.stack.wait_ready, twin)
    found = [twin.name for twin in made]
    try:
        yield found
    finally:
        await asyncio.to_thread(processes.stop, system.stack.home, found)


async def two_relays(system: System) -> None:
    """Two of a kind; then all stop in the middle of what they do, longer than a lease lasts, and wake up at once."""
    names = ["intake-worker", "monitoring-worker"]
    async with _twins(system, names) as twins:
        await system.asked(TWIN_REQUESTS)
        for name in (*names, *twins):
            system.send(name, signal.SIGSTOP)
        await system.lasts(STALL_SECONDS)
        for name in (*names, *twins):
            system.send(name, signal.SIGCONT)
        await system.asked(TWIN_REQUESTS)


async def rebalanced(system: System) -> None:
    """Every commit takes longer than a partition's handler is waited for, and members come and go meanwhile."""
    async with (
        slow_commits(system, COMMIT_SECONDS),
        _twins(system, ["notifications-worker", "scheduling-worker"]),
    ):
        await system.asked(3)


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


async def clock_jumps(system: System) -> None:
    """The wall clocks of two processes jump apart, ten minutes ahead and ten back, and home; monotonic time goes on."""
    stack, names = system.stack, ("notifications-worker", "monitoring-worker")
    library = await asyncio.to_thread(_wall_clock, stack.home)
    offsets = [stack.home / f"{name}.offset" for name in names]
    for name, offset in zip(names, offsets, strict=True):
        offset.write_text("0")
        stack.preloaded[name] = {"LD_PRELOAD": library, "WALL_CLOCK_FILE": str(offset)}
    await asyncio.gather(*map(system.kill, names))
    for jumps in JUMPS:
        for offset, seconds in zip(offsets, jumps, strict=True):
            offset.write_text(str(seconds))
        await system.asked(JUMP_REQUESTS)
    stack.preloaded.clear()
    await asyncio.gather(*map(system.kill, names))


def _wall_clock(home: Path) -> str:
    """The library that is preloaded. Raises StackError where no compiler can be had."""
    made = home / "wall_clock.so"
    if not made.exists():
        kafka_broker.need("cc", "gcc")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", made, WALL_CLOCK], check=True)  # noqa: S607 - on the PATH
    return str(made)
