"""One system with split roles, and one history of all that was asked of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.history import History
from tests.faults.members import ProxiedStack, proxied_stack
from tests.faults.system import System


@pytest.fixture(scope="package")
def split_stack() -> Iterator[ProxiedStack]:
    with proxied_stack() as running:
        yield running


@pytest.fixture(scope="package")
def history() -> History:
    return History()


@pytest.fixture
async def system(split_stack: ProxiedStack, history: History) -> AsyncIterator[System]:
    made = System(split_stack, history)
    yield made
    made.client.close()
