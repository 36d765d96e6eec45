"""Stacks of the tests: own stores, own ports, gone at the end."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from pymongo import MongoClient

from deploy.local import processes
from deploy.local.stack import ROOT, Stack
from tests.support.concerns import found_in, inside

S = TypeVar("S", bound=Stack)
KEPT = ROOT / ".local" / "failed"
"""The logs of stacks on which a test has failed."""

failed: list[str] = []
"""The tests of this process that have failed so far."""


class Shared:
    """The stack of a test run: MongoDB and Kafka from the first test that asks for them, the services while somebody does.

    Services that nobody asks for would cost every other test half a core.
    """

    def __init__(self) -> None:
        self._end, self._all_run = ExitStack(), False
        self._stack: Stack | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._end.close()

    def stores(self) -> Stack:
        if self._stack is None:
            self._stack = self._end.enter_context(_listened(_start_stores))
        return self._stack

    def whole(self) -> Stack:
        stack = self.stores()
        if not self._all_run:
            stack.up()
            self._all_run = True
        return stack

    def rest(self) -> None:
        """The services end; what they have stored stays."""
        if self._stack is not None and self._all_run:
            self._stack.stop_services()
            self._all_run = False


def _start_stores(stack: Stack) -> None:
    """Without the purge of what is past its time: to the store's own clock, all that a test writes by a clock of its own may be."""
    stack.start_stores()
    with MongoClient[Any](stack.mongodb_uri) as admin:
        admin.admin.command("setParameter", 1, ttlMonitorEnabled=False)


@contextmanager
def fresh_stack(replicas: int = 0) -> Iterator[Stack]:
    """Another one, with its services."""
    with _listened(lambda stack: stack.up(replicas=replicas)) as stack:
        yield stack


@contextmanager
def _listened(start: Callable[[Stack], None]) -> Iterator[Stack]:
    """Whatever its services write states its concern, and is audited where a person did it; looked at when they have ended."""
    with tempfile.TemporaryDirectory(prefix="stillwater-concerns-") as folder:
        heard = Path(folder)

        def make(home: Path) -> Stack:
            stack = Stack(home, random_ports=True)
            stack.overrides |= inside(heard)
            return stack

        with temporary(make, start) as stack:
            yield stack
            had_services = any((stack.home / "log" / f"{part.name}.log").exists() for part in stack.parts)
        seen, bad = found_in(heard)
        assert not bad, f"of the services, writes that may be lost or are not audited, reads that may be undone: {bad}"
        assert seen > 0 or not had_services, "nothing was heard of the services: this proves nothing"


@contextmanager
def temporary(make: Callable[[Path], S], start: Callable[[S], None]) -> Iterator[S]:
    """What `make` makes below a folder of its own, started and then gone."""
    with tempfile.TemporaryDirectory(prefix="stillwater-") as folder:
        stack = make(Path(folder))
        try:
            start(stack)
            yield stack
        finally:
            names = processes.names(stack.home)
            stack.down()
            if failed:
                shutil.copytree(stack.home / "log", KEPT / stack.home.name, dirs_exist_ok=True)
            assert not [name for name in names if processes.running(stack.home, name)]
