"""How much one device may say: the newest readings win, an abnormal one is never dropped, other devices do not notice."""

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

    Of too many devices all are forgotten, their buckets full.
    """

    def __init__(self, now: Callable[[], float], per_second: float = PER_SECOND, at_once: float = AT_ONCE) -> None:
        self._now, self._per_second, self._at_once = now, per_second, at_once
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, device: tuple[str, str], count: int) -> bool:
        """So many readings, if there are that many left; False takes nothing."""
        now = self._now()
        left, at = self._left.get(device, (self._at_once, now))
        left = min(self._at_once, left + (now - at) * self._per_second)
        if count > left:
            return False
        self._keep(device, left - count, now)
        return True

    def dropped(self, device: tuple[str, str], readings: Sequence[Measured], abnormal: Sequence[bool]) -> set[int]:
        """Of more readings than are left, the places of those that are too many: the oldest of the normal ones."""
        now = self._now()
        left, at = self._left.get(device, (self._at_once, now))
        left = min(self._at_once, left + (now - at) * self._per_second)
        normal = [place for place in range(len(readings)) if not abnormal[place]]
        over = max(len(readings) - int(left), 0)
        found = set(sorted(normal, key=lambda place: readings[place].taken_at)[:over])
        self._keep(device, max(left - (len(readings) - len(found)), 0.0), now)
        return found

    def give_back(self, device: tuple[str, str], count: int) -> None:
        """So many that were let through are to be sent again: what nobody stored was no flood."""
        if device in self._left:
            left, at = self._left[device]
            self._keep(device, min(self._at_once, left + count), at)

    def _keep(self, device: tuple[str, str], left: float, now: float) -> None:
        self._left[device] = (left, now)
        if len(self._left) > KEPT:
            self._left.clear()
