"""Each fault class once under load, in one go; `make test-faults` runs them at random moments, again and again."""

from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124
CALM_REQUESTS = 8
STEPS = (
    ("kill intake-api", "kill scheduling-worker", "kill notifications-worker"),
    ("kill monitoring-api", "kill intake-worker", "kill notifications-api"),
    ("kill scheduling-api", "kill monitoring-worker", "poison", "refused row"),
    ("kafka away",),
    ("kafka cut", "mongodb cut"),
    ("kafka stalled", "mongodb stalled"),
    ("kafka half-open", "mongodb half-open"),
    ("kafka paused", "pause intake-api", "pause scheduling-worker", "pause monitoring-worker"),
    ("mongodb primary killed",),
    ("mongodb secondary killed", "mongodb transient error"),
    ("mongodb steps down",),
    ("mongodb unknown commit", "pause monitoring-api", "pause notifications-api"),
    ("mongodb primary paused", "pause intake-worker", "pause scheduling-api", "pause notifications-worker"),
    ("mongodb member cut off", "two relays stalled"),
    ("two relays", "clock jumps"),
    ("rebalance in a handler",),
    ("offsets to zero",),
)


def test_every_fault_class_has_its_step() -> None:
    assert sorted(name for step in STEPS for name in step) == sorted(FAULTS)


async def test_nothing_is_lost_and_nothing_happens_twice(system: System) -> None:
    steps = [{name: FAULTS[name] for name in step} for step in STEPS]
    found = await play(system, steps, SEED, lambda: CALM_REQUESTS)
    assert not found, "\n".join(str(violation) for violation in found)
