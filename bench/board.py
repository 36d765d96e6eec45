"""The board: many open streams over a ward at 1 Hz. What it costs the service, and that nobody misses a transition."""

import asyncio
import itertools
import time
from typing import Any
from uuid import uuid4

import orjson
import psutil
from motor.motor_asyncio import AsyncIOMotorClient

from bench.alarm_path import Ward
from bench.figures import Figure, median, quantile
from bench.http import Pool
from bench.world import World
from deploy.local import processes
from shared.events.envelope import rfc3339

SESSIONS, STREAMS, BATCH = 200, 50, 100
SETTLE_SECONDS = 3.0
ALARM, NORMAL = ("59408-5", 0.0, "%"), ("59408-5", 98.0, "%")
CALM = ("8867-4", 70.0, "/min")
Store = AsyncIOMotorClient[dict[str, Any]]
TOLD = {"alarm_raised": "raised", "alarm_acknowledged": "acknowledged", "alarm_cleared": "cleared"}


class Stream:
    """One reader of the board; notes every transition of an alarm and when it came."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self.snapshots = self.values = 0

    async def read(self, port: int, token: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        head = f"GET /v1/board/stream HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        event = b""
        try:
            while line := await reader.readline():
                if line.startswith(b"event: "):
                    event = line[7:-1]
                elif line.startswith(b"data: "):
                    self._take(event, line[6:])
        finally:
            writer.close()

    def _take(self, event: bytes, data: bytes) -> None:
        self.snapshots += event == b"snapshot"
        self.values += event == b"values"
        if event == b"alarm":
            alarm = orjson.loads(data)
            self.seen.setdefault((alarm["id"], alarm["transition"]), time.perf_counter())


class Gateway:
    """All sessions at 1 Hz, a hundred readings a request; now and then one of them desaturates and comes back."""

    def __init__(self, world: World, pool: Pool, ward: Ward, sessions: list[str], store: Store) -> None:
        self._world, self._pool, self._ward, self._sessions, self.store = world, pool, ward, sessions, store
        self.raised_at: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        start = time.perf_counter()
        for second in itertools.count(1):
            if stop.is_set():
                return
            await asyncio.gather(*(self._send(batch) for batch in self._batches()))
            await asyncio.sleep(max(start + second - time.perf_counter(), 0))

    def _batches(self) -> list[tuple[str, ...]]:
        return [tuple(self._sessions[start : start + BATCH]) for start in range(0, len(self._sessions), BATCH)]

    async def _send(self, sessions: tuple[str, ...]) -> None:
        now = rfc3339(self._world.stack.now())
        sign, value, unit = CALM
        about = {"sign": sign, "value": value, "unit": unit, "taken_at": now, "device": "gateway"}
        readings = [{**about, "session_id": session} for session in sessions]
        status, body = await self._pool.post("/v1/vitals", {"readings": readings}, self._ward.device)
        assert status == 200, body

    async def alarms(self, seconds: int) -> None:
        """One episode a second: raised, acknowledged, back to normal."""
        for session in itertools.islice(itertools.cycle(self._sessions), seconds):
            began = time.perf_counter()
            self.raised_at.setdefault(session, began)
            await self._ward.measure(session, {ALARM[0]: ALARM[1]})
            await asyncio.sleep(0.4)
            await self._acknowledge(session)
            await self._ward.measure(session, {NORMAL[0]: NORMAL[1]})
            await asyncio.sleep(max(began + 1 - time.perf_counter(), 0))

    async def _acknowledge(self, session: str) -> None:
        found = self.store["monitoring"]["alarms"].find({"session_id": session, "open": True})
        for alarm in await found.to_list(None):
            status, body = await self._pool.post(f"/v1/alarms/{alarm['_id']}/acknowledge", {}, self._ward.nurse)
            assert status == 200, body


async def measure(world: World, seconds: int, sessions: int = SESSIONS, streams: int = STREAMS) -> list[Figure]:
    store: Store = AsyncIOMotorClient(world.stack.mongodb_uri)
    port, token = world.part("monitoring-api").port, world.stack.token("nurse", "board-bench")
    async with Pool(port) as pool:
        ward, run = Ward(world, pool), uuid4().hex[:6]
        names = [await ward.open(f"board-{run}-{number}") for number in range(sessions)]
        gateway, stop = Gateway(world, pool, ward, names, store), asyncio.Event()
        running = asyncio.create_task(gateway.run(stop))
        one = await _watch(world, gateway, port, token, 1, seconds)
        many = await _watch(world, gateway, port, token, streams, seconds)
        stop.set()
        await running
    store.close()
    return [
        Figure("board_cpu_percent", many.cpu, "% of a core", one.cpu, "<= 60"),
        Figure("board_missed_transitions", one.missed + many.missed, "transitions", None, "0"),
        Figure("board_transitions_told", many.told, "transitions", one.told),
        Figure("board_alarm_p50_ms", median(many.latencies), "ms", median(one.latencies)),
        Figure("board_alarm_p99_ms", quantile(many.latencies, 0.99), "ms", quantile(one.latencies, 0.99)),
        Figure("board_frames_per_s_and_stream", many.frames, "1/s", one.frames, "<= 2.5"),
    ]


class Watched:
    """What so many streams cost, and what they saw."""

    def __init__(self, cpu: float, missed: int, told: int, latencies: list[float], frames: float) -> None:
        self.cpu, self.missed, self.told, self.latencies, self.frames = cpu, missed, told, latencies, frames


async def _watch(world: World, gateway: Gateway, port: int, token: str, number: int, seconds: int) -> Watched:
    """The service's processor time is that of all its processes, taking readings in included."""
    gateway.raised_at.clear()
    streams = [Stream() for _ in range(number)]
    reading = [asyncio.create_task(stream.read(port, token)) for stream in streams]
    while not all(stream.snapshots for stream in streams):
        await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE_SECONDS)
    since, began, spent = world.stack.now(), time.perf_counter(), _spent(world)
    values = sum(stream.values for stream in streams)
    await gateway.alarms(seconds)
    took = time.perf_counter() - began
    cpu = (_spent(world) - spent) / took * 100
    frames = (sum(stream.values for stream in streams) - values) / took / number
    await asyncio.sleep(SETTLE_SECONDS)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    entries = gateway.store["monitoring"]["entries"].find({"kind": {"$in": list(TOLD)}, "recorded_at": {"$gte": since}})
    rows = await entries.to_list(None)
    told = {(row["facts"]["alarm_id"], TOLD[row["kind"]]) for row in rows}
    missed = sum(len(told - set(stream.seen)) for stream in streams)
    session_of = {
        (row["facts"]["alarm_id"], "raised"): row["session_id"] for row in rows if row["kind"] == "alarm_raised"
    }
    latencies = [
        (at - gateway.raised_at[session_of[key]]) * 1000
        for stream in streams
        for key, at in stream.seen.items()
        if session_of.get(key) in gateway.raised_at
    ]
    return Watched(cpu, missed, len(told), latencies, frames)


def _spent(world: World) -> float:
    total = 0.0
    for name in ("monitoring-api", "monitoring-worker"):
        found = processes.running(world.stack.home, name)
        assert found is not None, name
        times = psutil.Process(found.pid).cpu_times()
        total += times.user + times.system
    return total
