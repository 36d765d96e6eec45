"""Faults of the stores and of the ways to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.faults.members import MEMBERS
from tests.faults.proxy import State
from tests.faults.run import Act
from tests.faults.system import System

PAUSE_SECONDS = 15.0
CUT_OFF_SECONDS = 15.0
FAIL_POINT, FAILED_COMMANDS, FAILED_SECONDS = "failCommand", 10, 20.0


def way(store: str, state: State, seconds: float) -> Act:
    """The way to Kafka, or to every member of MongoDB, in another state for so long."""

    async def act(system: System) -> None:
        ways = [system.stack.ways[name] for name in (MEMBERS if store == "mongodb" else (store,))]
        for one in ways:
            one.become(state)
        await system.lasts(seconds)
        for one in ways:
            one.become("open")

    return act


def kafka_away(seconds: float) -> Act:
    async def act(system: System) -> None:
        await system.kill("kafka", seconds)

    return act


async def _primary(system: System) -> str:
    return await asyncio.to_thread(system.stack.primary)


async def primary_killed(system: System) -> None:
    await system.kill(await _primary(system))


async def secondary_killed(system: System) -> None:
    primary = await _primary(system)
    await system.kill(next(name for name in MEMBERS if name != primary))


async def primary_paused(system: System) -> None:
    """Long enough for the others to elect another: it wakes up and believes that it is primary still."""
    await system.pause(await _primary(system), PAUSE_SECONDS)


async def stepped_down(system: System) -> None:
    command = {"replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5}
    await asyncio.to_thread(_at, system, await _primary(system), command)


async def member_cut_off(system: System) -> None:
    """The primary reaches nobody, and nobody reaches it: it goes on believing for a while."""
    stack, name = system.stack, await _primary(system)
    pid = system.pid(name)
    await asyncio.to_thread(stack.proxy.shut, pid)
    stack.ways[name].become("cut")
    for other in MEMBERS:
        stack.ways[other].reset_of(pid)
    await system.lasts(CUT_OFF_SECONDS)
    stack.proxy.shut(None)
    stack.ways[name].become("open")


async def transient_errors(system: System) -> None:
    """The store says that it has aborted, and has."""
    labels = {"errorCode": 251, "errorLabels": ["TransientTransactionError"]}
    await _fail_commands(system, {"failCommands": ["commitTransaction"], **labels})
    await _fail_commands(system, {"failCommands": ["insert", "update"], **labels})


async def unknown_commits(system: System) -> None:
    """The store has committed and says that it does not know; then it has not, and says the same."""
    unsure = {"code": 91, "errmsg": "for the test", "errorLabels": ["UnknownTransactionCommitResult"]}
    await _fail_commands(system, {"failCommands": ["commitTransaction"], "writeConcernError": unsure})
    labels = {"errorCode": 50, "errorLabels": ["UnknownTransactionCommitResult"]}
    await _fail_commands(system, {"failCommands": ["commitTransaction"], **labels})
    await _fail_commands(system, {"failCommands": ["commitTransaction"], "closeConnection": True})


async def _fail_commands(system: System, data: dict[str, Any]) -> None:
    """One of two of these commands fails, until several have."""
    async with _failing(system, {"activationProbability": 0.5}, data) as (member, count):
        limit = int(FAILED_SECONDS * 1000)
        wait = {"waitForFailPoint": FAIL_POINT, "timesEntered": count + FAILED_COMMANDS, "maxTimeMS": limit}
        await asyncio.to_thread(_at, system, member, wait)


@contextlib.asynccontextmanager
async def slow_commits(system: System, seconds: float) -> AsyncIterator[None]:
    data = {"failCommands": ["commitTransaction"], "blockConnection": True, "blockTimeMS": int(seconds * 1000)}
    async with _failing(system, "alwaysOn", data):
        yield


@contextlib.asynccontextmanager
async def _failing(system: System, mode: Any, data: dict[str, Any]) -> AsyncIterator[tuple[str, int]]:
    """At the member that is primary now, and switched off there: another may be by then.

    Yields the member and how often its commands had failed before.
    """
    member, point = await _primary(system), {"configureFailPoint": FAIL_POINT}
    before = await asyncio.to_thread(_at, system, member, {**point, "mode": mode, "data": data})
    try:
        yield member, before["count"]
    finally:
        await asyncio.to_thread(_at, system, member, {**point, "mode": "off"})


def _at(system: System, member: str, command: dict[str, Any]) -> dict[str, Any]:
    with system.stack.member(member) as client:
        answer: dict[str, Any] = client.admin.command(command)
        return answer
