"""What a process does in its role, and only that."""

import asyncio
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import shared.service
from services.intake.wiring import SERVICE as INTAKE
from shared import cli
from shared.service import Process, Service
from tests.support.eventually import eventually
from tests.unit.conftest import Processes
from tests.unit.test_health import ALL

TASKS = {"migrate", "republish", "redrive", "verify-audit", "rotate-keys"}
EVERYWHERE = {"ping", "topics"}
SERVING = {"backlog"}
WORKING = {"relay.alarm", "relay.bulk", "consumer.bulk", "outbox_watch", "trouble", "sealer", "redrive"}


@pytest.mark.parametrize(
    ("arguments", "role"), [([], "all"), (["all"], "all"), (["api"], "api"), (["worker"], "worker")]
)
def test_without_a_word_a_process_is_api_and_worker(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], role: str
) -> None:
    begun = []
    monkeypatch.setattr(cli, "_run_role", lambda service, role: begun.append((service, role)))
    monkeypatch.setattr(sys, "argv", ["intake", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main(INTAKE)
    assert (ended.value.code, begun) == (0, [(INTAKE, role)])


def test_help_names_every_role_and_task(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["intake", "--help"])
    with pytest.raises(SystemExit):
        cli.main(INTAKE)
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert {line.split()[0] for line in listed.splitlines() if line[2:3].strip()} == {"all", "api", "worker"} | TASKS


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
async def test_a_role_has_its_loops_and_no_others(process: Processes, service: Service) -> None:
    """`all` has those of both; a task has none."""
    found = {role: set(process(service, role).loops.alive()) for role in ("api", "worker", "all", "migrate", "task")}
    wiring = process(service, "task").wiring
    working = WORKING | set(wiring.background)
    working |= {"consumer.alarm"} if wiring.alarm_handlers else set()
    working |= {"currency"} if wiring.knows_age else set()
    working |= {"timers"} if wiring.timer_handlers else set()
    assert found["api"] == EVERYWHERE | SERVING | set(wiring.everywhere) | set(wiring.serving)
    assert found["worker"] == EVERYWHERE | working | set(wiring.everywhere)
    assert found["all"] == found["api"] | found["worker"]
    assert found["migrate"] == found["task"] == set()


class Server:
    """Serves until it is told to end."""

    def __init__(self) -> None:
        self.should_exit = False

    async def serve(self, **_: Any) -> None:
        async def told() -> bool:
            return self.should_exit

        await eventually(told)


async def doors(made: Process, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ports that it opens; it is told to end as soon as it serves."""
    opened = list[int]()
    monkeypatch.setattr(shared.service, "_listen", lambda _, port: opened.append(port))
    monkeypatch.setattr(shared.service, "_server", lambda *_, **__: Server())
    monkeypatch.setattr(made, "loops", SimpleNamespace(start=lambda _: [], alive=dict))
    monkeypatch.setattr(made, "_sealer", None)
    running = asyncio.create_task(made.run())

    async def begun() -> bool:
        return bool(opened)

    await eventually(begun)
    signal.raise_signal(signal.SIGTERM)
    await running
    return opened


@pytest.mark.parametrize(("role", "serves"), [("api", True), ("all", True), ("worker", False)])
async def test_a_worker_opens_the_door_for_its_health_and_no_other(
    process: Processes, monkeypatch: pytest.MonkeyPatch, role: str, *, serves: bool
) -> None:
    monkeypatch.setenv("INTAKE_UNREADY_SECONDS", "0")
    made = process(INTAKE, role)
    health, api = made.settings.health_port, made.settings.api_port
    assert await doors(made, monkeypatch) == ([health, api] if serves else [health])
