"""When a device counts as silent. Pure; all times are clinical."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from services.monitoring.limits import Phase
from services.monitoring.vitals import MANUAL
from shared.events.monitoring import Priority
from shared.protocols import Protocol

RANK: Mapping[str, int] = {"low": 0, "medium": 1, "high": 2}


class SignalRules(Protocol):
    """Silent after `factor` times the device's interval, never under `least_s`: pitfalls.md 2.4 (dead man's switch a)."""

    factor: float = Field(ge=1)
    least_s: float = Field(ge=1)
    interval_s: float = Field(gt=0)


@dataclass(frozen=True)
class Silence:
    """One device of one session that was heard last at `last_seen_at`."""

    device: str
    last_seen_at: datetime
    priority: Priority

    def graver_than(self, told: Mapping[str, Any] | None) -> bool:
        """Whether people should hear of it: it is not told yet, or as less urgent than it is now."""
        return told is None or RANK[self.priority] > RANK[told["priority"]]


def wrong_clocks(technical: Iterable[str] | None) -> list[str]:
    """The devices about whose clock an alarm stands, of the rules of a session's technical alarms."""
    return [rule.removeprefix("clock:") for rule in technical or () if rule.startswith("clock:")]


def silent_devices(
    rules: SignalRules,
    intervals: Mapping[str, float],
    last_seen: Mapping[str, datetime],
    now: datetime,
    phase: Phase,
    tolerance: timedelta,
) -> list[Silence]:
    """Devices that should have been heard; by hand there is no interval to keep.

    `intervals` in seconds by device where the device declared one. `tolerance` is what transport may take: it is real
    time, so the caller scales it. A sensor off during dosing is of high priority (clinical.md 10).
    """
    found = []
    for device, seen in sorted(last_seen.items()):
        interval = intervals.get(device, rules.interval_s)
        allowed = max(timedelta(seconds=max(interval * rules.factor, rules.least_s)), tolerance)
        if device != MANUAL and now - seen > allowed:
            found.append(Silence(device, seen, "high" if phase == "dosing" else "medium"))
    return found
