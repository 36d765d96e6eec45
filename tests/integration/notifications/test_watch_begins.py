"""A watcher that has just started: a broker that does not answer it is silence too, and only who listens says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer
from prometheus_client import REGISTRY

from deploy.local.processes import free_port
from services.notifications import beats
from services.notifications.beats import Watch
from tests.integration.notifications.test_watch import beat
from tests.integration.notifications.world import CLINIC, World
from tests.support.eventually import eventually


def figure() -> float:
    return REGISTRY.get_sample_value("stillwater_watch_looked_timestamp_seconds") or 0.0


@pytest.fixture
async def begun(world: World, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Monitoring's last beat is old; nothing answers where the broker should be."""
    monkeypatch.setattr(beats, "LOOK_SECONDS", 0.05)
    await world.staff(nurse=["n1"])
    port = free_port()
    watch = Watch(world.mongo, world.deps, lambda: AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}"))
    await watch.take_beat(CLINIC, beat(world, "s1"))
    world.clock.advance(60)
    return watch


@contextlib.asynccontextmanager
async def running(watch: Watch, *loops: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for name in loops:
            tasks.create_task(getattr(watch, name)(stop))
        try:
            yield
        finally:
            stop.set()


async def looks(world: World, watch: Watch, seconds: float) -> list[str]:
    """Time passes, and a whole look is taken then; who was paged so far."""
    world.clock.advance(seconds)
    for _ in range(2):
        watch.last_looked = -1
        await eventually(lambda: _has_looked(watch))
    await world.send()
    return world.pager.addressees


async def _has_looked(watch: Watch) -> bool:
    return watch.last_looked != -1


async def test_a_broker_that_never_answers_is_paged_as_silence_and_not_at_once(world: World, begun: Watch) -> None:
    async with running(begun, "listen", "look"):
        assert await looks(world, begun, 0) == []
        assert await looks(world, begun, 14) == []
        assert await looks(world, begun, 7) == ["pager-n1"]
        assert await looks(world, begun, 1) == ["pager-n1"]
    assert "not heard, look at the board" in world.pager.calls[0][2]["text"]


async def test_a_beat_that_is_heard_in_time_is_no_silence(world: World, begun: Watch) -> None:
    async with running(begun, "listen", "look"):
        await looks(world, begun, 14)
        await begun.take_beat(CLINIC, beat(world, "s1"))
        assert await looks(world, begun, 7) == []


async def test_a_trouble_that_nobody_could_hear_meanwhile_is_not_over_at_once(world: World, begun: Watch) -> None:
    await begun.take_beat(CLINIC, beat(world, "s1", store="gone"))
    world.clock.advance(40)
    async with running(begun, "listen", "look"):
        await looks(world, begun, 1)
        assert [row["phase"] for row in await world.rows("escalations")] == ["paging"]


async def test_the_figure_stands_still_while_nobody_tries_to_listen(world: World, begun: Watch) -> None:
    before = figure()
    async with running(begun, "look"):
        await looks(world, begun, 30)
        assert figure() == before
    async with running(begun, "listen", "look"):
        await looks(world, begun, 1)
        await looks(world, begun, 1)
        assert figure() > before
