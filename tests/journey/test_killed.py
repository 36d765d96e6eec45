"""Who watches the watchers, shown by killing them: one page per clinic, and a figure that stops."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from deploy.local import processes
from deploy.local.stack import Stack
from services.monitoring.beats import BEAT_SECONDS
from services.monitoring.memory import REFRESH_SECONDS, UNSENT
from services.notifications.beats import LOOK_SECONDS
from services.notifications.watch import SILENCE
from shared.messaging.currency import EVERY_SECONDS
from tests.journey.staff import Staff
from tests.support.eventually import eventually
from tests.support.stacks import fresh_stack

pytestmark = pytest.mark.long

FIGURE = "stillwater_watch_looked_timestamp_seconds"
CLINICS = ("clinic-north", "clinic-south")
ALWAYS_S = 30.0  # deploy/observability/alerts.yaml: NotificationsWatches
ROUND_S = 2 * EVERY_SECONDS
PAGE_S = 5.0  # from the finding to the pager
COLLAPSE: dict[str, Any] = {"sign": "8480-6", "value": 35, "unit": "mm[Hg]", "device": "manual"}


@pytest.fixture(scope="module")
def apart() -> Iterator[Stack]:
    """A stack of its own, roles apart: its processes may be killed."""
    with fresh_stack(replicas=1) as stack:
        yield stack


async def watched(stack: Stack, *paths: str) -> None:
    """Until notifications has heard a beat that names them."""
    ids = {path.rpartition("/")[2] for path in paths}
    with MongoClient[Any](stack.mongodb_uri) as client:

        async def look() -> bool:
            rows = client["notifications"]["watch"].find()
            return ids <= {name for row in rows for name in row["sessions"]}

        await eventually(look, 30)


def kill(stack: Stack, *names: str) -> None:
    """kill -9: nothing is said any more."""
    for name in names:
        processes.kill(stack.home, name)


async def again(stack: Stack, *names: str) -> None:
    for part in (part for part in stack.parts if part.name in names):
        stack.start_part(part)
        await asyncio.to_thread(stack.wait_ready, part)


def figures(stack: Stack, name: str) -> str:
    part = next(part for part in stack.parts if part.name == name)
    return httpx.get(f"http://127.0.0.1:{part.health_port}/metrics", timeout=5).text


def looked_at(stack: Stack) -> float:
    rows = figures(stack, "notifications-worker").splitlines()
    return next(float(row.split()[1]) for row in rows if row.startswith(f"{FIGURE} "))


async def test_an_alarm_that_no_worker_can_send_is_paged_by_way_of_the_beat(apart: Stack) -> None:
    """The api records it and shows it on the board; the relay that would tell of it is dead."""
    staff = Staff(apart, "clinic-east")
    path = staff.seats()
    await watched(apart, path)
    kill(apart, "monitoring-worker")
    staff.measures(path, **COLLAPSE)
    unsent = UNSENT.total_seconds() + REFRESH_SECONDS + BEAT_SECONDS
    await staff.paged("recorded and not sent, look at the board", unsent + PAGE_S)
    assert staff.pages("systolic pressure") == 0
    await again(apart, "monitoring-worker")
    await staff.paged("systolic pressure", 30)


async def test_monitoring_is_killed_and_each_clinic_is_paged_once_within_the_bound(apart: Stack) -> None:
    clinics = [Staff(apart, name) for name in CLINICS]
    paths = [staff.seats() for staff in clinics for _ in range(3)]
    await watched(apart, *paths)
    kill(apart, "monitoring-worker", "monitoring-api")
    killed = time.monotonic()
    bound = SILENCE.total_seconds() + LOOK_SECONDS + PAGE_S
    await asyncio.gather(*(staff.paged("not heard, look at the board", bound) for staff in clinics))
    print(f"from the kill to the page of each clinic: {time.monotonic() - killed:.1f} s")  # noqa: T201
    assert [staff.pages("not heard, look at the board") for staff in clinics] == [1, 1]
    assert [staff.pages("not being evaluated") for staff in clinics] == [0, 0]
    await again(apart, "monitoring-worker", "monitoring-api")


async def test_notifications_is_killed_and_what_always_fired_is_gone(apart: Stack) -> None:
    first = looked_at(apart)

    async def moved() -> bool:
        return looked_at(apart) > first

    await eventually(moved, 10 * LOOK_SECONDS)
    assert abs(time.time() - looked_at(apart)) < ALWAYS_S
    kill(apart, "notifications-worker")
    with pytest.raises(httpx.ConnectError):
        looked_at(apart)
    assert f"{FIGURE} 0.0" in figures(apart, "notifications-api"), "who does not watch does not look as if it did"
    await again(apart, "notifications-worker")
    assert abs(time.time() - await eventually(lambda: _soon(apart), 20)) < ALWAYS_S


async def _soon(stack: Stack) -> float:
    return looked_at(stack)


async def test_without_kafka_what_others_told_is_as_of_then_and_the_gate_says_so_itself(apart: Stack) -> None:
    """It ages by itself: at 60 s it is a reason against a dose (test_projections_that_stand_still_for_a_minute_ask_a_human)."""
    staff = Staff(apart, "clinic-west")
    path = staff.seats()

    async def aged(least: float, most: float) -> bool:
        return least <= staff.knows_since_s(path) <= most

    await eventually(lambda: aged(0, ROUND_S), 40)
    kill(apart, "kafka")
    await eventually(lambda: aged(4 * ROUND_S, 1000), 60)
    await asyncio.to_thread(apart.start_stores)
    await eventually(lambda: aged(0, ROUND_S), 90)
