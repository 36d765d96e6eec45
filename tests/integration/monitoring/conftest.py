"""A chair with a session in dosing, on a database of its own and a clock that the test moves; and a nurse at the running API."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from deploy.local.stack import Stack
from services.monitoring.store import INDEXES
from tests.integration.monitoring.test_nurse import Nurse
from tests.integration.monitoring.world import Chair
from tests.support.clocks import apart
from tests.support.databases import empty_database


@pytest.fixture
async def chair(stores: Stack) -> AsyncIterator[Chair]:
    clock = apart(datetime(2026, 1, 1, 12, tzinfo=UTC))
    async with empty_database(stores.mongodb_uri, clock, INDEXES) as mongo:
        yield await Chair(mongo, clock).seat()


@pytest.fixture(scope="module")
def nurse(stack: Stack) -> Iterator[Nurse]:
    made = Nurse(stack)
    yield made
    made.client.close()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url("monitoring"), timeout=10) as client:
        yield client
