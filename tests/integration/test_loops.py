"""On the real store and broker every loop of every service says that it makes attempts."""

import asyncio

import httpx
import pytest

from deploy.local.stack import Stack
from shared.messaging.topics import SERVICES
from shared.service import Process, Service
from tests.support.eventually import eventually
from tests.unit.test_health import ALL


@pytest.mark.parametrize("service", SERVICES)
def test_the_health_port_tells_what_lives_and_what_serves(stack: Stack, service: str) -> None:
    alive = httpx.get(f"{stack.health_url(service)}/livez")
    assert alive.status_code == 200
    assert {"ping", "topics", "relay.alarm", "consumer.bulk", "sealer"} <= set(alive.json())
    ready = httpx.get(f"{stack.health_url(service)}/readyz").json()
    assert ready == {
        "status": "ready",
        "checks": {"accepting": True, "mongodb": True, "kafka": True, "consumers": True},
    }


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
async def test_every_loop_stamps_its_rounds(stack: Stack, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in stack.environment(service.name).items():
        monkeypatch.setenv(name, text)
    process, stop = Process(service, service.settings(), "all"), asyncio.Event()
    loops = process.loops._loops
    at_first = {name: loop.last_attempt() for name, loop in loops.items()}
    running = process.loops.start(stop)

    async def stamped() -> bool:
        return all(loop.last_attempt() > at_first[name] for name, loop in loops.items())

    try:
        await eventually(stamped, 20)
    finally:
        stop.set()
        await asyncio.wait(running, timeout=20)
        process.mongo.close()
