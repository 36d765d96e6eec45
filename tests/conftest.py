"""One real stack per run, started when the first test asks for it."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from deploy.local.stack import Stack
from shared.clock import SystemClock
from shared.persistence.indexes import PLUMBING_INDEXES
from shared.persistence.mongo import Mongo
from tests.support.stacks import fresh_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with fresh_stack() as running:
        yield running


@pytest.fixture
async def mongo(stack: Stack) -> AsyncIterator[Mongo]:
    """A database of its own with the plumbing's collections, by the administrator."""
    made = Mongo(stack.mongodb_uri, f"test_{uuid4().hex[:12]}", SystemClock())
    await made.build_indexes(PLUMBING_INDEXES)
    yield made
    await made.client.drop_database(made.database.name)
    made.close()
