"""On the real store and broker every loop of every service says that it makes attempts, and who is about to end says so."""

import asyncio
import signal
from collections.abc import Iterator

import httpx
import pytest

from deploy.local import processes
from deploy.local.stack import Part, Stack
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


@pytest.fixture
def twin(stack: Stack) -> Iterator[Part]:
    """A second api of intake, beside the stack's own."""
    part = Part("intake-api-2", "intake", "api", processes.free_port(), processes.free_port())
    stack.start_part(part)
    try:
        stack.wait_ready(part)
        yield part
    finally:
        processes.stop(stack.home, [part.name])


async def test_who_was_told_to_end_says_so_while_requests_are_still_answered(stack: Stack, twin: Part) -> None:
    """Else whoever sends requests here hears of it by those that fail."""
    process = processes.running(stack.home, twin.name)
    assert process is not None
    process.send_signal(signal.SIGTERM)
    async with httpx.AsyncClient() as client:

        async def unready() -> httpx.Response | None:
            answer = await client.get(f"http://127.0.0.1:{twin.health_port}/readyz")
            return answer if answer.status_code == 503 else None

        said = await eventually(unready, 5)
        assert said.json()["checks"] == {"accepting": False, "mongodb": True, "kafka": True}
        assert (await client.get(f"http://127.0.0.1:{twin.port}/v1/inquiries")).status_code == 401
        assert (await client.get(f"http://127.0.0.1:{twin.health_port}/livez")).status_code == 200
    assert await asyncio.to_thread(process.wait, 20) in {0, None}
