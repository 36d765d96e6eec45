"""Readings in over HTTP, durable and judged: gateway batches beside a bare insert_many, single ones beside a bare route."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from motor.motor_asyncio import AsyncIOMotorClient

from bench.alarm_path import SIGNS, Ward
from bench.bare import DURABLE, collections
from bench.figures import Figure, median
from bench.http import Pool
from bench.world import World
from deploy.local.stack import CLOCK_FILE
from shared.clock import ScaledClock
from shared.events.envelope import rfc3339

BATCH = 100
BATCHES_IN_FLIGHT = 8
SINGLES_IN_FLIGHT = 64
MONITORS = 200
ROUNDS = 3
Act = Callable[[int], Awaitable[None]]
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class Monitors:
    """So many open sessions with a monitor each; every reading has a time of its own, as a monitor's has."""

    def __init__(self, world: World, sessions: list[str]) -> None:
        self.sessions, self._clock = sessions, ScaledClock(world.stack.home / CLOCK_FILE)
        self._turn = itertools.cycle(range(len(sessions)))
        self._last: dict[int, datetime] = {}

    def readings(self, count: int) -> list[dict[str, Any]]:
        """Four signs of each of the sessions whose turn it is."""
        now = self.now()
        found: list[dict[str, Any]] = []
        while len(found) < count:
            number = next(self._turn)
            about = {
                "session_id": self.sessions[number],
                "taken_at": self._moment(number, now),
                "device": f"monitor-{number}",
            }
            found += [{**about, "sign": sign, "value": value, "unit": unit} for sign, unit, value in SIGNS]
        return found[:count]

    def now(self) -> datetime:
        return self._clock.clinical_now()

    def _moment(self, number: int, now: datetime) -> str:
        """Now, and a millisecond that this monitor has not had."""
        at = max(now, self._last.get(number, EPOCH) + MILLISECOND)
        self._last[number] = at
        return rfc3339(at)


async def open_monitors(world: World, pool: Pool, count: int) -> Monitors:
    ward, run = Ward(world, pool), uuid4().hex[:6]
    return Monitors(world, [await ward.open(f"v-{run}-{number}") for number in range(count)])


async def ingest(world: World, seconds: float, monitors: int = MONITORS) -> list[Figure]:
    """Gateway batches, and the same documents in as many insert_many at once, in turn."""
    token = world.stack.token("device", "gateway-bench")
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(world.stack.mongodb_uri)
    await collections(client, "bare", "vitals")
    ours, bare = [], []
    async with Pool(world.part("monitoring-api").port) as pool:
        known = await open_monitors(world, pool, monitors)

        async def post(_: int) -> None:
            status, body = await pool.post("/v1/vitals", {"readings": known.readings(BATCH)}, token)
            assert status == 200, body
            assert body.count(b'"stored"') == BATCH, body

        async def insert(_: int) -> None:
            now = known.now()
            await insert_bare(client, [as_stored(reading, now) for reading in known.readings(BATCH)])

        for _ in range(ROUNDS):
            ours.append(await _rate(post, seconds, BATCHES_IN_FLIGHT) * BATCH)
            bare.append(await _rate(insert, seconds, BATCHES_IN_FLIGHT) * BATCH)
    client.close()
    return [Figure("vitals_ingest_per_s", median(ours), "readings/s", median(bare), ">= 0.6")]


def as_stored(reading: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The document of a reading, with an id that the driver makes."""
    facts = {name: reading[name] for name in ("session_id", "sign", "value", "unit", "device")}
    return {**facts, "clinic_id": "bare", "taken_at": datetime.fromisoformat(reading["taken_at"]), "received_at": now}


async def insert_bare(client: Any, documents: list[dict[str, Any]]) -> None:
    await client["bare"].get_collection("vitals", write_concern=DURABLE).insert_many(documents)


async def single(world: World, seconds: float) -> list[Figure]:
    """One reading per request, and a bare route that inserts one document."""
    token = world.stack.token("device", "gateway-bench")
    ours, bare = [], []
    async with Pool(world.part("monitoring-api").port) as pool, Pool(world.bare_port) as other:
        known = await open_monitors(world, pool, SINGLES_IN_FLIGHT)

        async def post(_: int) -> None:
            (reading,) = known.readings(1)
            path = f"/v1/sessions/{reading.pop('session_id')}/vitals"
            status, body = await pool.post(path, {"readings": [reading]}, token)
            assert status == 200, body

        async def insert(_: int) -> None:
            status, body = await other.post("/readings", known.readings(1)[0])
            assert status == 201, body

        for _ in range(ROUNDS):
            ours.append(await _rate(post, seconds, SINGLES_IN_FLIGHT))
            bare.append(await _rate(insert, seconds, SINGLES_IN_FLIGHT))
    return [Figure("vitals_single_per_s", median(ours), "readings/s", median(bare), ">= 1.2")]


async def _rate(act: Act, seconds: float, in_flight: int) -> float:
    """How often a second, with so many at once."""
    end, done = time.perf_counter() + seconds, 0

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await act(done)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return done / (time.perf_counter() - began)
