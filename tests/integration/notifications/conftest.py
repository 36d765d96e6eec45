"""Real MongoDB, started in seconds and without the rest of the stack."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest

from deploy.local import mongodb, processes
from services.notifications.store import INDEXES
from tests.integration.notifications.world import World
from tests.support.clocks import apart
from tests.support.databases import empty_database

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("mongod")
    try:
        yield mongodb.start(home, processes.free_port(), secrets.token_hex(8))
    finally:
        processes.stop(home, ["mongod"])


@pytest.fixture
async def world(store_uri: str) -> AsyncIterator[World]:
    clock = apart(NOW)
    async with empty_database(store_uri, clock, INDEXES) as mongo:
        yield World(mongo, clock)
