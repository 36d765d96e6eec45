"""Each fault class once under load, those of one step at the same time; at random by `make test-faults`."""

from tests.faults.matrix import FAULTS
from tests.faults.run import play
from tests.faults.system import System

SEED = 20261124
CALM_REQUESTS = 8
Steps = tuple[tuple[str, ...], ...]
# Rows that a clock ahead has written wait for half a minute: it jumps at the beginning. What comes last is over at once.
STEPS: Steps = (
    ("mongodb cut", "clock jumps"),
    ("kafka away", "mongodb transient error"),
    ("kill intake-worker", "kill monitoring-api", "kill notifications-api", "mongodb secondary killed"),
    ("kill scheduling-api", "kill monitoring-worker", "poison", "refused row", "mongodb member cut off"),
    ("kill intake-api", "kill scheduling-worker", "kill notifications-worker", "mongodb unknown commit"),
    ("kafka cut", "mongodb steps down"),
    ("kafka half-open", "mongodb half-open"),
    (
        "kafka paused",
        "pause intake-api",
        "pause scheduling-worker",
        "pause monitoring-worker",
        "pause notifications-api",
    ),
    (
        "mongodb primary paused",
        "pause intake-worker",
        "pause scheduling-api",
        "pause monitoring-api",
        "pause notifications-worker",
    ),
    ("two relays", "rebalance in a handler"),
    ("mongodb primary killed", "offsets to zero"),
    ("kafka stalled", "mongodb stalled"),
)


def test_every_fault_class_has_its_step() -> None:
    assert sorted(name for step in STEPS for name in step) == sorted(FAULTS)


async def test_nothing_is_lost_and_nothing_happens_twice(system: System) -> None:
    found = await play(system, [{name: FAULTS[name] for name in step} for step in STEPS], SEED, lambda: CALM_REQUESTS)
    assert not found, "\n".join(str(violation) for violation in found)
