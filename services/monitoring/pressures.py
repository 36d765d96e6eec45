"""The two pressures of one measurement: the systolic is the higher, or they were swapped. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.monitoring.vitals import DIASTOLIC, SIGNS, SYSTOLIC

PRESSURES = (SYSTOLIC, DIASTOLIC)
Pair = tuple[float | None, float | None]
NO_PAIR: Pair = (None, None)


class Measured(Protocol):
    """What a reading is paired by."""

    @property
    def sign(self) -> str: ...

    @property
    def value(self) -> float: ...

    @property
    def device(self) -> str: ...

    @property
    def taken_at(self) -> datetime: ...


Pressures = dict[tuple[str, datetime], Pair]


def pressures_of(readings: Sequence[Measured]) -> Pressures:
    """Systolic and diastolic by device and time."""
    found: Pressures = {}
    for reading in readings:
        if reading.sign in PRESSURES:
            key = (reading.device, reading.taken_at)
            systolic, diastolic = found.get(key, NO_PAIR)
            pair = (reading.value, diastolic) if reading.sign == SYSTOLIC else (systolic, reading.value)
            found[key] = pair
    return found


def swapped(pair: Pair) -> bool:
    """Whether the diastolic is not below the systolic; False where one of them is missing."""
    systolic, diastolic = pair
    return systolic is not None and diastolic is not None and diastolic >= systolic


def may_be_swapped(reading: Measured) -> bool:
    """Whether a pressure that came alone may be the other one of its pair: a systolic as low as a sure diastolic, or the reverse."""
    if reading.sign == SYSTOLIC:
        return reading.value <= (SIGNS[DIASTOLIC].sure_high or 0)
    return reading.sign == DIASTOLIC and reading.value >= (SIGNS[SYSTOLIC].sure_low or 0)
