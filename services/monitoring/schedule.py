"""When a protocol wants what measured, and whether it was. Pure; all times are clinical. Source: clinical.md 3.2."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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


def times(measurement: Measurement) -> Iterator[timedelta]:
    """After the begin, when it is due; without an end where it is repeated without one."""
    yield from (timedelta(minutes=minutes) for minutes in sorted(measurement.at_minutes))
    every, last = measurement.every_minutes, measurement.for_minutes
    number = 1
    while every is not None and (last is None or every * number <= last):
        yield timedelta(minutes=every * number)
        number += 1


def due(measurement: Measurement, began: datetime, number: int) -> Due | None:
    """The `number`-th, from 0; None after the last."""
    offset = next((found for place, found in enumerate(times(measurement)) if place == number), None)
    if offset is None:
        return None
    grace = timedelta(minutes=measurement.grace_minutes)
    at = began + offset
    return Due(measurement.name, number, at, at - grace, at + grace)


def next_due(measurement: Measurement, began: datetime, now: datetime) -> Due | None:
    """The first that is not late yet."""
    number = 0
    while (found := due(measurement, began, number)) is not None and found.late_at <= now:
        number += 1
    return found


def began(session: Mapping[str, Any], measurement: Measurement, phase_since: datetime) -> datetime:
    """From when the minutes count."""
    given: list[datetime] = [dose["at"] for dose in session["doses"]]
    if measurement.since == "phase" or not given:
        return phase_since
    return min(given) if measurement.since == "first_dose" else max(given)
