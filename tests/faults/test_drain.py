"""A roll-out under load: SIGTERM to every process in turn, twice; no request fails, nothing is lost, each is gone in time."""

import asyncio
import contextlib
import signal
import time

import psutil
import pytest

from deploy.local import processes
from deploy.local.stack import Part, Stack
from shared.messaging.topics import SERVICES
from tests.faults.balancer import Balancer
from tests.faults.run import settled
from tests.faults.system import System
from tests.faults.traffic import Traffic

GONE_SECONDS = 20.0
ROLL = "roll"


async def roll(stack: Stack, part: Part) -> float:
    """As a platform does it: SIGTERM, gone, the new one, ready. Returns how long it took to be gone."""
    process = processes.running(stack.home, part.name)
    assert process is not None
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(process.wait, GONE_SECONDS)
    gone = time.monotonic() - began
    await asyncio.to_thread(stack.start_part, part)
    await asyncio.to_thread(stack.wait_ready, part)
    return gone


@pytest.mark.long
async def test_a_rolling_restart_under_load_fails_no_request_and_loses_nothing(system: System) -> None:
    stack = system.stack
    twins = [Part(f"{name}-api-2", name, "api", processes.free_port(), processes.free_port()) for name in SERVICES]
    for twin in twins:
        await asyncio.to_thread(stack.start_part, twin)
    for twin in twins:
        await asyncio.to_thread(stack.wait_ready, twin)
    before = len(system.history.asked)
    async with contextlib.AsyncExitStack() as opened:
        ports = {}
        for twin in twins:
            pair = [system.part(f"{twin.service}-api"), twin]
            ports[twin.service] = (await opened.enter_async_context(Balancer(pair))).port
        traffic = Traffic(system, seed=1, ports=ports)
        await traffic.prepare()
        running = asyncio.create_task(traffic.run())
        gone = await rolled(system, twins)
        traffic.stop.set()
        await running
        await traffic.answer_all()
        await traffic.client.close()
    await asyncio.to_thread(processes.stop, stack.home, [twin.name for twin in twins])
    failed = [asked for asked in system.history.asked[before:] if asked.status == 0 or asked.status >= 500]
    assert failed == []
    assert len(system.history.asked) - before > 200
    assert max(gone.values()) < GONE_SECONDS, gone
    assert [str(violation) for violation in await settled(system)] == []


async def rolled(system: System, twins: list[Part]) -> dict[str, float]:
    """Every process in turn, twice through all services: how long each took at most."""
    gone: dict[str, float] = {}
    async with system.fault(ROLL):
        for part in [*system.stack.parts, *twins] * 2:
            gone[part.name] = max(gone.get(part.name, 0.0), await roll(system.stack, part))
    return gone
