"""Listens to the driver: every write and commit states `w:majority, j:true`, every read what a majority has or a snapshot."""

import atexit
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo import monitoring
from pymongo.monitoring import CommandListener

from deploy.local.stack import ROOT
from tests.support.witness import watch

DURABLE = {"w": "majority", "j": True}
WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
READS = frozenset({"find", "aggregate", "count", "distinct"})
FOLDER = "TEST_CONCERNS_FOLDER"


class Concerns(CommandListener):
    """Collects what does not state its concern, and counts what it looked at."""

    def __init__(self) -> None:
        self.bad: list[str] = []
        self.seen = 0

    def started(self, event: Any) -> None:
        name, command = event.command_name, event.command
        if name == "commitTransaction":
            self._judge(f"{name} without its concern", sound=command.get("writeConcern") == DURABLE)
        elif "autocommit" in command:
            if name in WRITES or command.get("startTransaction"):
                sound = not command.get("startTransaction") or _level(command) == "snapshot"
                self._judge(f"{name} of {command[name]} without a snapshot", sound=sound)
        elif name in WRITES:
            self._judge(f"{name} of {command[name]} without its concern", sound=command.get("writeConcern") == DURABLE)
        elif name in READS:
            self._judge(f"{name} of {command[name]} without a majority", sound=_level(command) == "majority")

    def _judge(self, what: str, *, sound: bool) -> None:
        self.seen += 1
        if not sound:
            self.bad.append(what)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


def _level(command: Mapping[str, Any]) -> str | None:
    found: str | None = command.get("readConcern", {}).get("level")
    return found


def inside(folder: Path) -> Mapping[str, str]:
    """The environment by which a process of a service writes down what `Concerns` finds in it; see `listen`."""
    folder.mkdir(exist_ok=True)
    return {FOLDER: str(folder), "PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'inside'}:{ROOT}"}


def listen() -> None:
    """In a process of a service, before it has a client, to it and to its units; one file per process, written when it ends."""
    concerns, folder = Concerns(), Path(os.environ[FOLDER])
    monitoring.register(concerns)
    watch(concerns.bad)

    def write_down() -> None:
        name = f"{'-'.join(sys.orig_argv[2:4])}-{os.getpid()}".replace("/", "_")
        (folder / name).write_text("\n".join([str(concerns.seen), *sorted(set(concerns.bad))]))

    atexit.register(write_down)


def found_in(folder: Path) -> tuple[int, list[str]]:
    """How many commands of the services' processes were looked at, those that stated too little and what was not audited."""
    files = [path.read_text().splitlines() for path in sorted(folder.iterdir())]
    return sum(int(lines[0]) for lines in files), sorted({line for lines in files for line in lines[1:]})
