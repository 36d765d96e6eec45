"""Notifications alone, on a clock of its own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from deploy.local.stack import Stack
from services.notifications.store import INDEXES
from tests.integration.notifications.world import World
from tests.support.clocks import apart
from tests.support.databases import empty_database

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


@pytest.fixture
async def world(stores: Stack) -> AsyncIterator[World]:
    clock = apart(NOW)
    async with empty_database(stores.mongodb_uri, clock, INDEXES) as mongo:
        yield World(mongo, clock)
