"""One real stack per run: each part is started when the first test asks for it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from deploy.local.stack import Stack
from shared.clock import Clock, SystemClock
from shared.persistence.mongo import Mongo
from tests.support.concerns import Concerns
from tests.support.databases import empty_database
from tests.support.sharing import ByFile
from tests.support.stacks import Shared, failed
from tests.support.witness import watch

settings.register_profile("shared_machine", deadline=None)  # how long an example takes says what else the machine does
settings.load_profile("shared_machine")

NEEDY = pytest.StashKey[set[Path]]()
"""The files with tests that ask for the running services."""
LONGEST = ("test_clinic_day.py", "test_schemathesis.py", "test_board.py", "test_compose_init.py")
ENDS = ("test_flood.py",)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What asks for the services comes first, so that they end early and start once; the longest files before the others.

    What ends them itself comes last of those.
    """
    needy = {item.path for item in items if {"stack", "stores"} <= set(getattr(item, "fixturenames", ()))}
    config.stash[NEEDY] = needy
    items.sort(key=lambda item: (item.path not in needy, item.path.name in ENDS, item.path.name not in LONGEST))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        failed.append(report.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def shared() -> Iterator[Shared]:
    with Shared() as made:
        yield made


@pytest.fixture(scope="session")
def stores(shared: Shared) -> Stack:
    """MongoDB and Kafka, with their users and topics."""
    return shared.stores()


@pytest.fixture(scope="session")
def stack(stores: Stack, shared: Shared) -> Stack:
    """The same, with the services running; files that do not ask for it come when all that do have been."""
    assert shared.whole() is stores
    return stores


@pytest.fixture(scope="module", autouse=True)
def _services_run_for_who_asks(shared: Shared, request: pytest.FixtureRequest) -> None:
    if request.path in request.config.stash[NEEDY]:
        shared.whole()
    else:
        shared.rest()


@pytest.fixture(scope="session", autouse=True)
def _every_command_states_its_concern_and_every_request_is_audited() -> Iterator[None]:
    """Of the services' own code, here and (see `tests.support.stacks`) in the stack's processes; the tests' clients may differ."""
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
async def mongo(stores: Stack) -> AsyncIterator[Mongo]:
    """A database of its own with the plumbing's collections, by the administrator."""
    async with empty_database(stores.mongodb_uri, SystemClock()) as made:
        yield made
