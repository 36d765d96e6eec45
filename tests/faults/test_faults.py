"""Each fault class once under load; the long run in random order is `make test-faults`."""

import pytest

from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124
ROUNDS = (
    ("kill intake-api", "kill intake-worker", "poison", "refused row"),
    ("kill monitoring-api", "kill monitoring-worker", "pause monitoring-worker"),
    ("kill notifications-worker", "pause notifications-worker", "two workers"),
    ("kill mongod", "pause mongod"),
    ("kill kafka", "pause kafka"),
    ("offsets to zero",),
)


def test_every_fault_class_has_its_round() -> None:
    assert sorted(name for round_ in ROUNDS for name in round_) == sorted(FAULTS)


@pytest.mark.parametrize("names", ROUNDS, ids=", ".join)
async def test_nothing_is_lost_and_nothing_happens_twice(system: System, names: tuple[str, ...]) -> None:
    found = await play(system, {name: FAULTS[name] for name in names}, SEED)
    assert not found, "\n".join(str(violation) for violation in found)
