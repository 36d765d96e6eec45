"""A clinic with a patient on the running services."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import Stack
from tests.integration.intake.world import World


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    made = World(stack)
    await made.register()
    yield made
    await made.http.aclose()
