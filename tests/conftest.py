"""One real stack per run, started when the first test asks for it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from deploy.local.stack import Stack
from shared.clock import Clock, SystemClock
from shared.persistence.mongo import Mongo
from tests.support.concerns import Concerns
from tests.support.databases import empty_database
from tests.support.stacks import fresh_stack
from tests.support.witness import watch


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with fresh_stack() as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def _every_command_states_its_concern_and_every_request_is_audited() -> Iterator[None]:
    """Of the services' own code, in this process and (see `fresh_stack`) in those of the stack; the tests' clients may differ."""
    concerns, silent, made = Concerns(), list[str](), Mongo.__init__

    def listened(self: Mongo, uri: str, database: str, clock: Clock, *, listeners: Sequence[Any] = ()) -> None:
        made(self, uri, database, clock, listeners=[*listeners, concerns])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mongo, "__init__", listened)
        watch(silent, "shared.web.", patch.setattr)
        yield
    assert not concerns.bad, f"writes that may be lost, reads that may be undone: {sorted(set(concerns.bad))}"
    assert not silent, f"of requests, what nobody would know of: {sorted(set(silent))}"


@pytest.fixture
async def mongo(stack: Stack) -> AsyncIterator[Mongo]:
    """A database of its own with the plumbing's collections, by the administrator."""
    async with empty_database(stack.mongodb_uri, SystemClock()) as made:
        yield made
