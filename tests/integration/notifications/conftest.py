"""Real MongoDB, started in seconds and without the rest of the stack."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest

from deploy.local import mongodb, processes
from services.notifications.store import INDEXES
from shared.clock import ManualClock
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from tests.integration.notifications.world import World

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
    clock = ManualClock(NOW)
    mongo = Mongo(store_uri, f"test_{secrets.token_hex(6)}", clock)
    await mongo.build_indexes({**PLUMBING_INDEXES, **INDEXES})
    yield World(mongo, clock)
    await mongo.client.drop_database(mongo.database.name)
    mongo.close()
