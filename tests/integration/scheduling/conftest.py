"""A clinic on the running services; and, for what depends on time and order, scheduling alone on a clock of its own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from deploy.local.stack import Stack
from services.scheduling.store import INDEXES
from tests.integration.scheduling.clinic import Clinic
from tests.integration.scheduling.world import World
from tests.support.clocks import apart
from tests.support.databases import empty_database

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)  # a Monday, ten o'clock in New York


@pytest.fixture
async def clinic(stack: Stack) -> AsyncIterator[Clinic]:
    async with Clinic(stack) as running:
        yield running


@pytest.fixture
async def world(stores: Stack) -> AsyncIterator[World]:
    clock = apart(NOW)
    async with empty_database(stores.mongodb_uri, clock, INDEXES) as mongo:
        yield World(mongo, clock)
