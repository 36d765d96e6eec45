"""How much one device may say: the newest readings win, an abnormal one is never dropped, other devices do not notice."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

PER_SECOND = 200.0
AT_ONCE = 10_000.0
KEPT = 20_000


class Measured(Protocol):
    """What a flood is judged by."""

    @property
    def taken_at(self) -> datetime:
        """When it was measured."""


class Flood:
    """A bucket per device, of this process: `AT_ONCE` readings are a backlog after a gap, `PER_SECOND` on and on a fault.

    The devices not heard of longest are forgotten, their buckets full.
    """

    def __init__(self, now: Callable[[], float], per_second: float = PER_SECOND, at_once: float = AT_ONCE) -> None:
        self._now, self._per_second, self._at_once = now, per_second, at_once
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def dropped(self, device: tuple[str, str], readings: Sequence[Measured], abnormal: Sequence[bool]) -> set[int]:
        """The places of those that are too many: the oldest of the normal ones."""
        now = self._now()
        left, at = self._left.pop(device, (self._at_once, now))
        left = min(self._at_once, left + (now - at) * self._per_second)
        over = len(readings) - int(left)
        found = set[int]()
        if over > 0:
            normal = [place for place in range(len(readings)) if not abnormal[place]]
            found = set(sorted(normal, key=lambda place: readings[place].taken_at)[:over])
        self._left[device] = (max(left - (len(readings) - len(found)), 0.0), now)
        if len(self._left) > KEPT:
            self._left.popitem(last=False)
        return found

    def full(self, device: tuple[str, str], count: int) -> bool:
        """Whether so many readings need a closer look; most never do."""
        left, at = self._left.get(device, (self._at_once, 0.0))
        return count > min(self._at_once, left + (self._now() - at) * self._per_second)
