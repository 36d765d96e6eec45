"""The stack of a test run: own stores, own ports, gone at the end."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deploy.local import processes
from deploy.local.stack import Stack
from tests.support.concerns import found_in, inside

S = TypeVar("S", bound=Stack)


@contextmanager
def fresh_stack(replicas: int = 0) -> Iterator[Stack]:
    """Whatever its services write states its concern, and is audited where a person did it; looked at when they have ended."""
    with tempfile.TemporaryDirectory(prefix="stillwater-concerns-") as folder:
        heard = Path(folder)

        def make(home: Path) -> Stack:
            stack = Stack(home, random_ports=True)
            stack.overrides |= inside(heard)
            return stack

        with temporary(make, replicas) as stack:
            yield stack
        seen, bad = found_in(heard)
        assert not bad, f"of the services, writes that may be lost or are not audited, reads that may be undone: {bad}"
        assert seen > 0, "nothing was heard of the services: this proves nothing"


@contextmanager
def temporary(make: Callable[[Path], S], replicas: int) -> Iterator[S]:
    """What `make` makes below a folder of its own, up and then gone."""
    with tempfile.TemporaryDirectory(prefix="stillwater-") as folder:
        stack = make(Path(folder))
        try:
            stack.up(replicas=replicas)
            yield stack
        finally:
            names = processes.names(stack.home)
            stack.down()
            assert not [name for name in names if processes.running(stack.home, name)]
