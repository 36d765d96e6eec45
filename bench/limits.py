"""What an event, a reading and a process cost: the numbers behind `docs/scaling.md`."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import psutil
from motor.motor_asyncio import AsyncIOMotorClient

from bench.alarm_path import Ward
from bench.figures import Figure
from bench.http import Pool
from bench.world import World
from deploy.local import processes
from shared.ids import new_id

CHAIN = ("intake-api", "intake-worker", "notifications-worker", "mongod", "kafka")
TOGETHER = 8


async def measure(world: World, inquiries: int, readings: int) -> list[Figure]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(world.stack.mongodb_uri)
    found = await _cpu(world, client, inquiries)
    found += await _bytes(world, client, readings)
    found += _connections(world)
    client.close()
    return found


async def _cpu(world: World, client: AsyncIOMotorClient[dict[str, Any]], inquiries: int) -> list[Figure]:
    """Processor time of each process for one inquiry: request, two events, their effects, the mail."""
    messages, token = client["notifications"]["messages"], world.stack.token("front_desk", "desk-bench")
    idle, already = await _idle(world), await messages.count_documents({})
    before, began = _spent(world), time.monotonic()
    contact = {"name": "B", "email": "b@example.org"}
    left = iter(range(inquiries))

    async def some(pool: Pool) -> None:
        for _ in left:
            status, body = await pool.post("/v1/inquiries", {"channel": "phone", "contact": contact}, token, new_id())
            assert status == 201, body

    async with Pool(world.part("intake-api").port) as pool:
        await asyncio.gather(*(some(pool) for _ in range(TOGETHER)))
    deadline = time.monotonic() + 120
    while await messages.count_documents({"state": "delivered"}) < already + inquiries and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    after, took = _spent(world), time.monotonic() - began
    spent = {name: (after[name] - before[name] - idle[name] * took) * 1000 / inquiries for name in CHAIN}
    figures = [Figure(f"cpu_ms_per_inquiry_{name.replace('-', '_')}", value, "ms") for name, value in spent.items()]
    return [*figures, Figure("inquiries_per_s_and_core", 1000 / sum(spent.values()), "1/s")]


async def _idle(world: World, seconds: float = 5.0) -> dict[str, float]:
    """What each process spends in a second in which nobody asks for anything."""
    before = _spent(world)
    await asyncio.sleep(seconds)
    return {name: (spent - before[name]) / seconds for name, spent in _spent(world).items()}


def _spent(world: World) -> dict[str, float]:
    found = {}
    for name in CHAIN:
        times = _process(world, name).cpu_times()
        found[name] = times.user + times.system
    return found


def _process(world: World, name: str) -> psutil.Process:
    process = processes.running(world.stack.home, name)
    assert process is not None, name
    return process


async def _bytes(world: World, client: AsyncIOMotorClient[dict[str, Any]], readings: int) -> list[Figure]:
    """As documents, neither compressed nor indexed: of one reading, and of a session up to its baseline without readings."""
    database = client["monitoring"]
    before = await _sizes(database)
    async with Pool(world.part("monitoring-api").port) as pool:
        ward = Ward(world, pool)
        session = await ward.open(f"bytes-{new_id()}")
        opened = await _sizes(database)
        for _ in range(readings // 4):
            await ward.measure(session, {}, "monitor")
    after = await _sizes(database)
    rest = sum(size for name, (_, size) in opened.items() if name != "vitals") - sum(
        size for name, (_, size) in before.items() if name != "vitals"
    )
    count, size = (after["vitals"][place] - opened["vitals"][place] for place in (0, 1))
    return [
        Figure("bytes_per_reading", size / count, "B"),
        Figure("bytes_per_session_without_readings", rest, "B"),
    ]


async def _sizes(database: Any) -> dict[str, tuple[int, int]]:
    """Documents and their bytes, by collection."""
    found: dict[str, tuple[int, int]] = {}
    for name in await database.list_collection_names():
        stats = await database.command("collStats", name)
        found[name] = (stats["count"], stats["size"])
    return found


def _connections(world: World) -> list[Figure]:
    """To MongoDB and to Kafka, of an api and of a worker process after the load."""
    ports: Sequence[tuple[str, set[int]]] = [
        ("mongodb", _listening(world, "mongod")),
        ("kafka", _listening(world, "kafka")),
    ]
    figures = []
    for name in ("intake-api", "notifications-worker"):
        remote = [row.raddr.port for row in _process(world, name).net_connections("tcp") if row.raddr]
        for store, own in ports:
            label = f"connections_{store}_{name.replace('-', '_')}"
            figures.append(Figure(label, sum(port in own for port in remote), "connections"))
    return figures


def _listening(world: World, name: str) -> set[int]:
    rows = _process(world, name).net_connections("tcp")
    return {row.laddr.port for row in rows if row.status == psutil.CONN_LISTEN}
