"""The stack of a test run: own stores, own ports, gone at the end."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deploy.local import processes
from deploy.local.stack import Stack

S = TypeVar("S", bound=Stack)


@contextmanager
def fresh_stack(replicas: int = 0) -> Iterator[Stack]:
    with temporary(lambda home: Stack(home, random_ports=True), replicas) as stack:
        yield stack


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
