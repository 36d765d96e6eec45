"""A clinic on the running services; and, for what depends on time and order, scheduling alone on a clock of its own."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from deploy.local.stack import Stack
from services.scheduling.store import INDEXES
from shared.clock import ManualClock
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from tests.integration.scheduling.clinic import Clinic
from tests.integration.scheduling.world import World

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)  # a Monday, ten o'clock in New York


@pytest.fixture
async def clinic(stack: Stack) -> AsyncIterator[Clinic]:
    async with Clinic(stack) as running:
        yield running


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    clock = ManualClock(NOW)
    mongo = Mongo(stack.mongodb_uri, f"test_{secrets.token_hex(6)}", clock)
    await mongo.build_indexes({**PLUMBING_INDEXES, **INDEXES})
    yield World(mongo, clock)
    await mongo.client.drop_database(mongo.database.name)
    mongo.close()
