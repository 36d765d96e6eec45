"""Each fault class once under load: kills in `make test`, the others by `make test-faults`, which then runs all at random."""

import pytest

from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124
Steps = tuple[tuple[str, ...], ...]
ROUNDS: dict[str, Steps] = {
    "processes": (
        ("kill intake-api", "kill scheduling-worker", "kill notifications-worker"),
        ("kill monitoring-api", "kill intake-worker", "kill notifications-api"),
        ("kill scheduling-api", "kill monitoring-worker", "poison", "refused row"),
    ),
    "kafka": (
        ("kafka away",),
        ("kafka cut",),
        ("kafka stalled",),
        ("kafka half-open",),
        ("kafka paused", "pause intake-api", "pause scheduling-worker", "pause monitoring-worker"),
    ),
    "mongodb": (
        ("mongodb primary killed",),
        ("mongodb secondary killed", "mongodb transient error"),
        ("mongodb steps down", "mongodb unknown commit"),
        ("mongodb primary paused", "pause intake-worker", "pause scheduling-api", "pause notifications-worker"),
        ("mongodb member cut off", "pause monitoring-api", "pause notifications-api"),
        ("mongodb cut",),
        ("mongodb stalled",),
        ("mongodb half-open",),
    ),
    "chain": (
        ("two relays", "clock jumps"),
        ("two relays stalled",),
        ("rebalance in a handler",),
        ("offsets to zero",),
    ),
}


def test_every_fault_class_has_its_round() -> None:
    assert sorted(name for steps in ROUNDS.values() for step in steps for name in step) == sorted(FAULTS)


OFTEN = "processes"
CASES = [
    pytest.param(steps, id=name, marks=() if name == OFTEN else pytest.mark.long) for name, steps in ROUNDS.items()
]


@pytest.mark.parametrize("steps", CASES)
async def test_nothing_is_lost_and_nothing_happens_twice(system: System, steps: Steps) -> None:
    found = await play(system, [{name: FAULTS[name] for name in step} for step in steps], SEED)
    assert not found, "\n".join(str(violation) for violation in found)
