"""The faults, by name. Each leaves the system running again. Those of a store begin with its name."""

from collections.abc import Mapping

from tests.faults import stores, workers
from tests.faults.run import Act
from tests.faults.system import System

PROCESSES = tuple(
    f"{name}-{role}" for name in ("intake", "scheduling", "monitoring", "notifications") for role in ("api", "worker")
)
PAUSE_SECONDS = 15.0


def _killed(name: str) -> Act:
    async def act(system: System) -> None:
        await system.kill(name)

    return act


def _paused(name: str) -> Act:
    async def act(system: System) -> None:
        await system.pause(name, PAUSE_SECONDS)

    return act


FAULTS: Mapping[str, Act] = {
    **{f"kill {name}": _killed(name) for name in PROCESSES},
    **{f"pause {name}": _paused(name) for name in PROCESSES},
    "kafka away": stores.kafka_away(12),
    "kafka paused": _paused("kafka"),
    "kafka cut": stores.way("kafka", "cut", 3),
    "kafka stalled": stores.way("kafka", "stalled", 8),
    "kafka half-open": stores.way("kafka", "half_open", 3),
    "mongodb primary killed": stores.primary_killed,
    "mongodb secondary killed": stores.secondary_killed,
    "mongodb primary paused": stores.primary_paused,
    "mongodb steps down": stores.stepped_down,
    "mongodb member cut off": stores.member_cut_off,
    "mongodb cut": stores.way("mongodb", "cut", 3),
    "mongodb stalled": stores.way("mongodb", "stalled", 8),
    "mongodb half-open": stores.way("mongodb", "half_open", 3),
    "mongodb transient error": stores.transient_errors,
    "mongodb unknown commit": stores.unknown_commits,
    "poison": workers.poison,
    "refused row": workers.refused,
    "two relays": workers.two_relays,
    "rebalance in a handler": workers.rebalanced,
    "offsets to zero": workers.replayed,
    "clock jumps": workers.clock_jumps,
}
LONG: Mapping[str, Act] = {"kafka away for a minute": stores.kafka_away(60)}
