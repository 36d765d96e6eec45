"""Each fault class once under load: processes and Kafka in `make test`; all, and at random, by `make test-faults`."""

import pytest

from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124
CALM_REQUESTS = 8
Steps = tuple[tuple[str, ...], ...]
PROCESSES: Steps = (
    ("kill intake-api", "kill scheduling-worker", "kill notifications-worker"),
    ("kill monitoring-api", "kill intake-worker", "kill notifications-api"),
    ("kill scheduling-api", "kill monitoring-worker", "poison", "refused row"),
)
KAFKA: Steps = (
    ("kafka away",),
    ("kafka cut",),
    ("kafka stalled",),
    ("kafka half-open",),
    ("kafka paused", "pause intake-api", "pause scheduling-worker", "pause monitoring-worker"),
)
MONGODB: Steps = (
    ("mongodb primary killed",),
    ("mongodb secondary killed", "mongodb transient error"),
    ("mongodb steps down",),
    ("mongodb unknown commit", "pause monitoring-api", "pause notifications-api"),
    ("mongodb primary paused", "pause intake-worker", "pause scheduling-api", "pause notifications-worker"),
    ("mongodb member cut off",),
    ("mongodb cut",),
    ("mongodb stalled",),
    ("mongodb half-open",),
)
CHAIN: Steps = (
    ("two relays", "clock jumps"),
    ("rebalance in a handler",),
    ("offsets to zero",),
)
CASES = (
    pytest.param(PROCESSES + KAFKA, id="processes and kafka"),
    pytest.param(MONGODB, id="mongodb", marks=pytest.mark.long),
    pytest.param(CHAIN, id="chain", marks=pytest.mark.long),
)


def test_every_fault_class_has_its_step() -> None:
    assert sorted(name for step in PROCESSES + KAFKA + MONGODB + CHAIN for name in step) == sorted(FAULTS)


@pytest.mark.parametrize("steps", CASES)
async def test_nothing_is_lost_and_nothing_happens_twice(system: System, steps: Steps) -> None:
    found = await play(system, [{name: FAULTS[name] for name in step} for step in steps], SEED, lambda: CALM_REQUESTS)
    assert not found, "\n".join(str(violation) for violation in found)
