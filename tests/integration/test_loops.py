"""On the real store and broker every loop of every service says that it makes attempts, and who is about to end says so."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local import processes
from deploy.local.stack import Part, Stack
from shared.messaging.topics import SERVICES
from shared.service import Process, Service
from tests.support.eventually import eventually
from tests.unit.test_health import ALL
from tests.unit.test_settings import GOOD


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


class Away:
    """Where a store or a broker was: whoever comes is counted and gets no answer."""

    def __init__(self) -> None:
        self.came = 0

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._hang_up, "127.0.0.1", 0)

    async def _hang_up(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.close()


async def test_without_store_and_broker_a_process_lives_tries_again_and_says_what_is_away(tmp_path: Path) -> None:
    store, broker, health = Away(), Away(), processes.free_port()
    async with await store.listen() as one, await broker.listen() as two, httpx.AsyncClient() as client:
        at, seeds = (server.sockets[0].getsockname()[1] for server in (one, two))
        own = {"MONGODB_URI": f"mongodb://user:pw@127.0.0.1:{at}/?replicaSet=rs0"}
        own |= {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{seeds}", "AUDIT_ANCHOR_PATH": str(tmp_path / "anchor.jsonl")}
        own |= {"API_PORT": str(processes.free_port()), "HEALTH_PORT": str(health)}
        settings = {f"INTAKE_{name}": text for name, text in (GOOD | own).items()}
        processes.start(tmp_path, "intake", [sys.executable, "-m", "services.intake", "all"], settings)
        try:

            async def tried_again() -> bool:
                return min(store.came, broker.came) >= 2

            await eventually(tried_again, 60)
            alive = await client.get(f"http://127.0.0.1:{health}/livez")
            ready = await client.get(f"http://127.0.0.1:{health}/readyz")
        finally:
            process = processes.running(tmp_path, "intake")
            await asyncio.to_thread(processes.stop, tmp_path, ["intake"])
    assert process is not None, "it has died"
    assert (alive.status_code, ready.status_code) == (200, 503)
    away = [name for name, there in ready.json()["checks"].items() if not there]
    assert sorted(away) == ["consumers", "kafka", "mongodb"]


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
