from collections.abc import AsyncIterator

import pytest

from shared.persistence.mongo import Mongo
from tests.integration.web.world import INDEXES, World


@pytest.fixture
async def world(mongo: Mongo) -> AsyncIterator[World]:
    await mongo.build_indexes(INDEXES)
    made = World(mongo, mongo.clock)
    yield made
    await made.http.aclose()
