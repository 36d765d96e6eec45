"""A roll-out with both codes at work: an earlier commit beside this one, on the same documents, events and outbox rows."""

import asyncio
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.stack import Part
from tests.faults.run import play
from tests.faults.system import System

EARLIER = "e1f3819"
ROOT = Path(__file__).parents[2]
BESIDE_REQUESTS = 75


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier code in a folder of its own. A clone without history cannot show this."""
    packed = subprocess.run(
        [shutil.which("git") or "/usr/bin/git", "archive", EARLIER, "services", "shared"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert packed.returncode == 0, f"this clone does not hold {EARLIER}: clone with history"
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


async def roll(system: System, part: Part, code: Path) -> None:
    stack = system.stack
    await asyncio.to_thread(processes.stop, stack.home, [part.name])
    command = [sys.executable, "-m", f"services.{part.service}", part.role]
    of_code = {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    processes.start(stack.home, part.name, command, {**stack.environment(part.service, part), **of_code})
    await asyncio.to_thread(stack.wait_ready, part)


@pytest.mark.long
async def test_an_earlier_code_and_this_one_work_side_by_side_and_back(system: System, earlier: Path) -> None:
    async def half(old: str) -> None:
        """One role of every service runs the earlier code, the other this one."""
        for part in system.stack.parts:
            await roll(system, part, earlier if part.role == old else ROOT)
        await system.asked(BESIDE_REQUESTS)

    async def workers(_: System) -> None:
        await half("worker")

    async def apis(_: System) -> None:
        await half("api")

    async def back(_: System) -> None:
        await half("none")

    steps = [{"roll": workers}, {"roll": apis}, {"roll": back}]
    found = [str(violation) for violation in await play(system, steps, seed=7)]
    assert found == [], "\n".join(found)
