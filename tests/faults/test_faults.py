"""Each fault class once under load; the long run is `make test-faults`."""

import pytest

from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124


@pytest.mark.parametrize("name", list(FAULTS))
async def test_nothing_is_lost_and_nothing_happens_twice(system: System, name: str) -> None:
    found = await play(system, name, FAULTS[name], SEED)
    assert not found, "\n".join(str(violation) for violation in found)
