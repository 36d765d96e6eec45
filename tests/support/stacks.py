"""The stack of a test run: own stores, own ports, gone at the end."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import processes
from deploy.local.stack import Stack


@contextmanager
def fresh_stack(replicas: int = 0) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="stillwater-") as folder:
        stack = Stack(Path(folder), random_ports=True)
        try:
            stack.up(replicas=replicas)
            yield stack
        finally:
            names = processes.names(stack.home)
            stack.down()
            assert not [name for name in names if processes.running(stack.home, name)]
