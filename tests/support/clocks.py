"""Clinical and real time hours apart, as a fast day leaves them: whoever reads the wrong clock is found out."""

from datetime import datetime, timedelta

from shared.clock import ManualClock

APART = timedelta(hours=7)


def apart(clinical: datetime, rate: float = 1.0) -> ManualClock:
    """`rate`: clinical seconds in one of real time."""
    return ManualClock(clinical, clinical - APART, rate)
