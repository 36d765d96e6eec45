"""The relay: how long after the commit a record is at a consumer, and how fast a backlog leaves."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from bson import Binary

from bench.figures import Figure, median, quantile
from bench.world import World
from deploy.local import processes
from shared.clock import SystemClock
from shared.events.intake import InquiryReceived
from shared.ids import new_id
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.outbox import emit
from shared.messaging.relay import Relay
from shared.messaging.topics import BULK
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.lease import Lease
from shared.persistence.mongo import Document, Mongo, UnitOfWork
from shared.persistence.scope import system_scope

TOPIC = BULK["intake"].name
SCOPE = system_scope("bench", "bench")
PER_SECOND = 50
KEYS = 1000
DATABASE = "bench_relay"


async def _database(world: World) -> Mongo:
    mongo = Mongo(world.stack.mongodb_uri, DATABASE, SystemClock())
    await mongo.build_indexes(PLUMBING_INDEXES)
    return mongo


async def _emit(mongo: Mongo) -> str:
    async def work(unit: UnitOfWork) -> str:
        event = InquiryReceived(inquiry_id=new_id(), channel="phone")
        return emit(unit, event, aggregate=f"inquiry/{event.inquiry_id}", version=1)

    return await mongo.run(SCOPE, work)


class _Reader:
    """When each event arrived, by its id."""

    def __init__(self, kafka: str) -> None:
        self.consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka, auto_offset_reset="latest")
        self.arrived: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            for rows in (await self.consumer.getmany(timeout_ms=200)).values():
                now = time.perf_counter()
                for row in rows:
                    self.arrived[dict(row.headers).get("ce_id", row.key or b"").decode()] = now

    async def has(self, ids: Sequence[str], seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline and not self.arrived.keys() >= set(ids):
            await asyncio.sleep(0.01)


async def measure(world: World, seconds: int, rows: int) -> list[Figure]:
    """The relay by itself: the services' consumers would read what it sends, their change streams what it marks."""
    async with world.without("api", "worker"):
        return await _latency(world, seconds) + await _throughput(world, rows)


async def _latency(world: World, seconds: int) -> list[Figure]:
    """50 commits a second; the relay is a process of its own and is woken by the change stream alone."""
    mongo = await _database(world)
    arguments = [world.stack.mongodb_uri, mongo.database.name, world.stack.kafka]
    processes.start(world.stack.home, "bench-relay", [sys.executable, "-m", "bench.relay_process", *arguments])
    reader = _Reader(world.stack.kafka)
    await reader.consumer.start()
    reading = asyncio.create_task(reader.run())
    await _settle(mongo, reader)
    ours = await _paced(seconds, lambda: _emit(mongo), reader)
    async with AIOKafkaProducer(bootstrap_servers=world.stack.kafka, acks="all", enable_idempotence=True) as producer:
        sending: set[asyncio.Task[None]] = set()

        async def send(event_id: str) -> None:
            await producer.send_and_wait(TOPIC, b"x" * 60, key=event_id.encode(), headers=[("x", b"y" * 300)])

        async def direct() -> str:
            event_id = await _emit(mongo)
            task = asyncio.create_task(send(event_id))
            sending.add(task)
            task.add_done_callback(sending.discard)
            return event_id

        processes.stop(world.stack.home, ["bench-relay"])
        bare = await _paced(seconds, direct, reader)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await reader.consumer.stop()
    mongo.close()
    return [
        Figure("relay_latency_p50_ms", median(ours), "ms", median(bare), "<= 2.5 x, < 5 ms"),
        Figure("relay_latency_p99_ms", quantile(ours, 0.99), "ms", quantile(bare, 0.99), "< 11 ms"),
    ]


async def _settle(mongo: Mongo, reader: _Reader) -> None:
    """The relay's process leads and the change stream is open."""
    for _ in range(50):
        await reader.has([await _emit(mongo)], 2)
        await asyncio.sleep(0.02)


async def _paced(seconds: int, act: Callable[[], Awaitable[str]], reader: _Reader) -> list[float]:
    """Milliseconds from each commit to its record's arrival."""
    committed: dict[str, float] = {}

    async def once() -> None:
        committed[await act()] = time.perf_counter()

    start, tasks = time.perf_counter(), []
    for number in range(seconds * PER_SECOND):
        await asyncio.sleep(max(start + number / PER_SECOND - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(once()))
    await asyncio.gather(*tasks)
    await reader.has(list(committed), 10)
    return [(reader.arrived[name] - at) * 1000 for name, at in committed.items() if name in reader.arrived]


async def _throughput(world: World, rows: int) -> list[Figure]:
    """Rows that wait: read, sent, acknowledged, marked; beside a bare pipelined produce of the same records.

    They are of a thousand patients, so they lie in all partitions.
    """
    mongo = await _database(world)
    template = await _template(mongo)
    keys = [Binary(new_id().encode()) for _ in range(KEYS)]
    ours, bare = [], []
    for _ in range(3):
        await mongo.plumbing("outbox").insert_many(
            [
                {**template, "_id": new_id(), "aggregate": f"inquiry/{number}", "key": keys[number % KEYS]}
                for number in range(rows)
            ]
        )
        lease = Lease(mongo, "relay.bulk", "bench", term_s=60)
        relay = Relay(mongo, "bulk", lease, lambda: new_producer(KafkaAddress(world.stack.kafka), "bench"))
        assert await lease.acquire()
        began = time.perf_counter()
        while await relay.send_pending():
            pass
        ours.append(rows / (time.perf_counter() - began))
        bare.append(await _bare_produce(world, template, [bytes(keys[number % KEYS]) for number in range(rows)]))
        stop = asyncio.Event()
        stop.set()
        await relay.run(stop)
    mongo.close()
    return [Figure("relay_throughput_per_s", median(ours), "rows/s", median(bare), ">= 0.4, >= 10,000")]


async def _template(mongo: Mongo) -> Document:
    """A row of an event, taken out again."""
    event_id = await _emit(mongo)
    outbox = mongo.plumbing("outbox")
    (row,) = await outbox.find({"_id": event_id})
    await outbox.delete({"_id": event_id})
    return row


async def _bare_produce(world: World, row: Document, keys: Sequence[bytes]) -> float:
    headers = [(name, bytes(item)) for name, item in row["headers"]]
    producer = new_producer(KafkaAddress(world.stack.kafka), "bare")
    async with producer:
        began = time.perf_counter()
        for start in range(0, len(keys), 1000):
            sent = [
                await producer.send(row["topic"], bytes(row["value"]), key, headers=headers)
                for key in keys[start : start + 1000]
            ]
            await asyncio.gather(*sent)
        return len(keys) / (time.perf_counter() - began)
