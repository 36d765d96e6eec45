"""The same figures with a year behind them: a million rows each in outbox archive, inbox, audit and timers."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient
from rich.progress import Progress

from bench import alarm_path, inbox, outbox, routes
from bench.figures import Figure
from bench.world import World
from shared.ids import new_id

BATCH = 5_000
GOALS = {"ms": "<= 1.2 x"}
AT_LEAST = ">= 0.83 x"
Make = Callable[[int], dict[str, Any]]


async def measure(world: World, rows: int, *, quick: bool) -> list[Figure]:
    """Each figure beside the one of the same system before it had grown."""
    before = await _figures(world, quick)
    async with world.without("api", "worker"):
        await asyncio.to_thread(fill, world.stack.mongodb_uri, rows)
    after = await _figures(world, quick)
    return [
        Figure(f"growth_{name}", after[name].value, now.unit, now.value, GOALS.get(now.unit, AT_LEAST))
        for name, now in sorted(before.items())
    ]


async def _figures(world: World, quick: bool) -> dict[str, Figure]:
    found = await alarm_path.measure_calm(world, 60 if quick else 500)
    found += await routes.create(world, 1.0 if quick else 4.0)
    found += await outbox.measure(world, 4 if quick else 20, 5_000 if quick else 20_000)
    found += await inbox.throughput(world, 1_000 if quick else 6_000)
    return {figure.name: figure for figure in found if not figure.name.endswith("_lost")}


def fill(uri: str, rows: int) -> None:
    """Where the measured paths write: notifications has all four, intake the two that a request writes."""
    wanted = [("notifications", name) for name in ("outbox", "inbox", "audit", "timers")]
    wanted += [("intake", "outbox"), ("intake", "audit"), ("bench_relay", "outbox"), ("bench_inbox", "inbox")]
    with MongoClient[Any](uri, w=1) as client, Progress(transient=True) as progress:
        for service, name in wanted:
            task = progress.add_task(f"{service}.{name}", total=rows)
            for batch in _batches(rows, ROWS[name]):
                client[service][name].insert_many(batch, ordered=False)
                progress.advance(task, len(batch))


def _batches(rows: int, make: Make) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, rows, BATCH):
        yield [make(number) for number in range(start, min(start + BATCH, rows))]


def _sent(number: int) -> dict[str, Any]:
    row = {"clinic_id": "grown", "schema_version": 1, "state": "sent", "lane": "bulk", "topic": "stillwater.intake.v1"}
    row |= {"key": b"k" * 36, "aggregate": f"inquiry/{number}", "sequence": "0000000001.0001", "value": b"v" * 120}
    return row | {"_id": new_id(), "headers": [["ce_id", b"x" * 500]], "created_at": NOW, "sent_at": NOW}


def _mark(number: int) -> dict[str, Any]:
    return {"_id": f"grown|stillwater.notifications|/stillwater/intake/inquiry/{number}|{new_id()}", "at": NOW}


def _audited(number: int) -> dict[str, Any]:
    row = {"clinic_id": "grown", "actor": "nurse-1", "role": "nurse", "purpose": "treatment", "action": "session.read"}
    return row | {"_id": new_id(), "at": NOW, "subject": f"session/{number}", "patient_id": str(number), "trace": None}


def _timer(number: int) -> dict[str, Any]:
    row = {"clinic_id": "grown", "key": f"grown:{number}", "kind": "contact_deadline", "clock": "system", "priority": 5}
    return row | {"_id": new_id(), "due_at": NOW + timedelta(days=30), "latest_at": None, "payload": {}}


NOW = datetime.now(UTC)
ROWS: dict[str, Make] = {"outbox": _sent, "inbox": _mark, "audit": _audited, "timers": _timer}
