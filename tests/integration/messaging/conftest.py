"""A signal that ends what a test started."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.persistence.mongo import Mongo


@pytest.fixture
async def stop() -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
async def _collections(mongo: Mongo) -> None:
    """Made beforehand, as `migrate` does: a transaction that creates a collection may conflict with itself."""
    await mongo.build_indexes({"effects": []})
