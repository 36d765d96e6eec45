"""A roll-out under load: SIGTERM to every process in turn; no request fails, nothing is lost, each is gone in time."""

import asyncio
import contextlib
import signal
import time
from uuid import uuid4

import httpx
import psutil

from deploy.local import processes
from deploy.local.stack import Part, Stack
from tests.faults.balancer import Balancer
from tests.faults.history import Command, History
from tests.faults.run import settled
from tests.faults.system import System

GONE_SECONDS = 20.0
ROLLED = ("intake-api", "intake-api-2", "intake-worker", "notifications-worker")


async def send(port: int, token: str, history: History, stop: asyncio.Event) -> int:
    """One client without a second try: a new connection per request; returns how many were answered."""
    done = 0
    while not stop.is_set():
        command = Command(uuid4().hex, f"{uuid4().hex}@example.org")
        history.commands.append(command)
        body = {"channel": "phone", "contact": {"name": "F", "email": command.email}}
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": command.key, "Connection": "close"}
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.post(f"http://127.0.0.1:{port}/v1/inquiries", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        command.acknowledged_id = answer.json()["id"]
        done += 1
    return done


async def roll(stack: Stack, part: Part) -> float:
    """SIGTERM, wait until it is gone, start it again, wait until it is ready; returns how long it took to go."""
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


async def test_a_rolling_restart_under_load_fails_no_request_and_loses_nothing(system: System) -> None:
    stack = system.stack
    first = system.part("intake-api")
    twin = Part("intake-api-2", "intake", "api", processes.free_port(), processes.free_port())
    parts = {part.name: part for part in (*stack.parts, twin)}
    await asyncio.to_thread(stack.start_part, twin)
    await asyncio.to_thread(stack.wait_ready, twin)
    token, stop = stack.token("front_desk", "desk-1"), asyncio.Event()
    async with system.fault("roll"), Balancer([first, twin]) as balancer:
        clients = [asyncio.create_task(send(balancer.port, token, system.history, stop)) for _ in range(4)]
        gone = {name: await roll(stack, parts[name]) for name in ROLLED * 2}
        stop.set()
        answered = sum(await asyncio.gather(*clients))
    await asyncio.to_thread(processes.stop, stack.home, [twin.name])
    assert max(gone.values()) < GONE_SECONDS, gone
    assert answered > 50
    assert [str(violation) for violation in await settled(system)] == []
