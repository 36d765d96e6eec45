"""When a protocol wants what measured, and whether it was. Pure; all times are clinical. Source: clinical.md 3.2."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

from services.monitoring.protocol import Measurement


@dataclass(frozen=True)
class Due:
    """One measurement at one time: from `opens_at` on it counts, after `late_at` it is missed."""

    name: str
    number: int
    at: datetime
    opens_at: datetime
    late_at: datetime


def _offset(measurement: Measurement, number: int) -> timedelta | None:
    """After the begin: the fixed minutes first, then every period; None after the last."""
    fixed, every, last = sorted(measurement.at_minutes), measurement.every_minutes, measurement.for_minutes
    if number < len(fixed):
        return timedelta(minutes=fixed[number])
    if every is None:
        return None
    minutes = every * (number - len(fixed) + 1)
    return timedelta(minutes=minutes) if last is None or minutes <= last else None


def due(measurement: Measurement, began: datetime, number: int) -> Due | None:
    """The `number`-th, from 0; None after the last."""
    offset = _offset(measurement, number)
    if offset is None:
        return None
    grace = timedelta(minutes=measurement.grace_minutes)
    at = began + offset
    return Due(measurement.name, number, at, at - grace, at + grace)


def next_due(measurement: Measurement, began: datetime, now: datetime) -> Due | None:
    """The first that is not late yet."""
    return due_after(measurement, began, now - timedelta(minutes=measurement.grace_minutes))


def due_after(measurement: Measurement, began: datetime, moment: datetime) -> Due | None:
    """The first whose time comes after the moment."""
    fixed = len(measurement.at_minutes)
    numbers = chain(range(fixed), count(fixed + _surely_past(measurement, moment - began)))
    found = (due(measurement, began, number) for number in numbers)
    return next((item for item in found if item is None or item.at > moment), None)


def _surely_past(measurement: Measurement, passed: timedelta) -> int:
    """Periods that nobody has to look at, however long ago the begin was; the last two are left to the exact look."""
    every = measurement.every_minutes
    return 0 if every is None else max(passed // timedelta(minutes=every) - 2, 0)


def began(session: Mapping[str, Any], measurement: Measurement, phase_since: datetime) -> datetime:
    """From when the minutes count."""
    given: list[datetime] = [dose["at"] for dose in session["doses"]]
    if measurement.since == "phase" or not given:
        return phase_since
    return min(given) if measurement.since == "first_dose" else max(given)
