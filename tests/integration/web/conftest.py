"""Real MongoDB, started in seconds and without the rest of the stack."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.local import mongodb, processes
from shared.clock import SystemClock
from shared.persistence.mongo import Mongo
from tests.integration.web.world import INDEXES, World
from tests.support.databases import empty_database


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """It can be told to fail."""
    home, port, password = tmp_path_factory.mktemp("mongod"), processes.free_port(), secrets.token_hex(8)
    try:
        mongodb.launch(home, "mongod", port, "enableTestCommands=1")
        mongodb.initiate([port], [f"127.0.0.1:{port}"], password)
        yield f"mongodb://admin:{password}@127.0.0.1:{port}/?replicaSet=rs0&authSource=admin"
    finally:
        processes.stop(home, ["mongod"])


@pytest.fixture
async def mongo(store_uri: str) -> AsyncIterator[Mongo]:
    async with empty_database(store_uri, SystemClock(), INDEXES) as made:
        yield made


@pytest.fixture
async def world(mongo: Mongo) -> AsyncIterator[World]:
    made = World(mongo, mongo.clock)
    yield made
    await made.http.aclose()
