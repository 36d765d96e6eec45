"""One system with split roles, and one history of all that was asked of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.local.stack import Stack
from tests.faults.history import History
from tests.faults.system import System
from tests.support.stacks import fresh_stack


@pytest.fixture(scope="package")
def split_stack() -> Iterator[Stack]:
    with fresh_stack(replicas=1) as running:
        yield running


@pytest.fixture(scope="package")
def history() -> History:
    return History()


@pytest.fixture
async def system(split_stack: Stack, history: History) -> AsyncIterator[System]:
    made = System(split_stack, history)
    yield made
    made.client.close()
