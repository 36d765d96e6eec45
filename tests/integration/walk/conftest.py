"""The way is walked once."""

from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.integration.walk import way
from tests.integration.walk.walk import Walk


@pytest.fixture(scope="session")
def walk(stack: Stack) -> Iterator[Walk]:
    made = Walk(stack)
    way.go(made)
    yield made
    made.close()
