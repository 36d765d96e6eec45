"""Reading a timeline and ingesting with ten million readings stored, beside the same on an empty store."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pymongo import MongoClient
from rich.progress import Progress

from bench.alarm_path import SIGNS, Ward
from bench.figures import Figure, median
from bench.http import Pool
from bench.vitals import ingest
from bench.world import World
from services.monitoring.folding import fold, reading_id

MINUTES = 120
GOAL = "<= 1.2 x"
PAGES = 200
HOT_SHARE = 10  # one session of so many ended today and still lies as documents


async def measure(world: World, readings: int, *, quick: bool) -> list[Figure]:
    before = await _figures(world, quick)
    await asyncio.to_thread(fill, world.stack.mongodb_uri, readings)
    after = await _figures(world, quick)
    return [Figure(f"history_{name}", after[name], "ms", before[name], GOAL) for name in sorted(before)]


async def _figures(world: World, quick: bool) -> dict[str, float]:
    """A page of a timeline, a page of vital signs, and how long a thousand readings take."""
    token = world.stack.token("nurse", "nurse-bench")
    async with Pool(world.part("monitoring-api").port) as pool:
        ward = Ward(world, pool)
        session = await ward.open(f"history-{uuid4().hex[:6]}")
        for _ in range(30):
            await ward.measure(session, {}, "monitor")
        found = {}
        for name in ("timeline", "vitals"):
            found[f"{name}_p50_ms"] = await _pages(pool, f"/v1/sessions/{session}/{name}?limit=50", token, quick)
    (rate,) = await ingest(world, 1.0 if quick else 5.0, 50)
    return found | {"ingest_1000_ms": 1_000_000 / rate.value}


async def _pages(pool: Pool, path: str, token: str, quick: bool) -> float:
    times = []
    for _ in range(PAGES // 10 if quick else PAGES):
        began = time.perf_counter()
        status, body = await pool.get(path, token)
        times.append((time.perf_counter() - began) * 1000)
        assert status == 200, body
    return median(times)


def fill(uri: str, readings: int) -> None:
    """As a year leaves them: sessions of two hours, four signs at 1 Hz, most of them folded."""
    per_session = MINUTES * 60 * len(SIGNS)
    sessions = max(readings // per_session, HOT_SHARE)
    with MongoClient[Any](uri, w=1) as client, Progress(transient=True) as progress:
        database = client["monitoring"]
        for number in progress.track(range(sessions), description="history"):
            for rows in _ten_minutes(str(uuid4())):
                if number % HOT_SHARE == 0:
                    database.vitals.insert_many(rows, ordered=False)
                else:
                    database.buckets.insert_one(fold(rows))


def _ten_minutes(session: str) -> Iterator[list[dict[str, Any]]]:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for minute in range(0, MINUTES, 10):
        for sign, unit, value in SIGNS:
            yield [
                _row(session, sign, unit, value + second % 7, began + timedelta(minutes=minute, seconds=second))
                for second in range(600)
            ]


def _row(session: str, sign: str, unit: str, value: float, at: datetime) -> dict[str, Any]:
    about = {
        "schema_version": 1,
        "clinic_id": "grown",
        "session_id": session,
        "sign": sign,
        "value": value,
        "unit": unit,
    }
    times = {"taken_at": at, "received_at": at + timedelta(milliseconds=40)}
    return {"_id": reading_id(session, sign, at, "monitor"), **about, "device": "monitor", **times}
