"""A chair with a session in dosing, on a database of its own and a clock that the test moves."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from deploy.local.stack import Stack
from services.monitoring.store import INDEXES
from shared.clock import ManualClock
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from tests.integration.monitoring.world import Chair


@pytest.fixture
async def chair(stack: Stack) -> AsyncIterator[Chair]:
    clock = ManualClock(datetime(2026, 1, 1, 12, tzinfo=UTC))
    mongo = Mongo(stack.mongodb_uri, f"test_{uuid4().hex[:12]}", clock)
    await mongo.build_indexes({**PLUMBING_INDEXES, **INDEXES})
    yield await Chair(mongo, clock).seat()
    await mongo.client.drop_database(mongo.database.name)
    mongo.close()
