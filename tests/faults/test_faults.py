"""Each fault class once under load; the long run is `make test-faults`."""

import pytest

from deploy.local.stack import Stack
from tests.faults.history import History
from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124
_HISTORY = History()


@pytest.mark.parametrize("name", list(FAULTS))
async def test_nothing_is_lost_and_nothing_happens_twice(split_stack: Stack, name: str) -> None:
    system = System(split_stack, _HISTORY)
    try:
        found = await play(system, name, FAULTS[name], SEED)
    finally:
        system.client.close()
    assert not found, "\n".join(str(violation) for violation in found)
