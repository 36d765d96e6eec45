"""Whether a reading tells of now: a backlog after a network gap is not a wrong clock. Pure; all times are clinical.

The offset of a device is how long before its arrival its newest reading was taken. While a backlog is drained it falls
from one delivery to the next; a wrong clock keeps it. For some seconds a backlog can keep it too, where each delivery
takes as long as it tells of; so it must stand for `trusted` before anybody says that a clock is wrong.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

TRUSTED = timedelta(seconds=10)
SLACK = timedelta(seconds=2)
NO_GAP = timedelta(hours=12)  # CFG: longer than any session, so no backlog
FORGOTTEN = timedelta(minutes=5)
BY_HAND = timedelta(minutes=15)  # CFG: typed in so much later it is still judged as one of now too

Tells = Literal["now", "late", "unsure", "clock"]


@dataclass(frozen=True)
class Timing:
    """One device at one delivery."""

    offset: timedelta
    at: datetime
    tells: Tells


def told(
    before: Timing | None, offset: timedelta, span: timedelta, now: datetime, trusted: timedelta, slack: timedelta
) -> Timing:
    """What the newest reading of a delivery tells of its device; `span` is how much older its oldest reading is.

    `unsure` after one delivery that came late: nobody can know yet, unless it is a stretch of time by itself. `trusted`
    and `slack` are never shorter in real time than transport may take, so the caller scales them.
    """
    if abs(offset) <= trusted:
        return Timing(offset, now, "now")
    if offset < timedelta(0) or offset > NO_GAP:
        return Timing(offset, now, "clock")
    undecided: Tells = "late" if span > trusted else "unsure"
    if before is None or before.tells == "now" or now - before.at > FORGOTTEN:
        return Timing(offset, now, undecided)
    return _since(before, Timing(offset, now, undecided), trusted, slack)


def _since(before: Timing, given: Timing, trusted: timedelta, slack: timedelta) -> Timing:
    """What the change of the offset tells."""
    fell, passed = before.offset - given.offset, given.at - before.at
    if fell > slack:
        return replace(given, tells="late")
    if passed < slack:  # Too soon to tell: the signs of one moment come one by one. `before` stays what is compared.
        return before
    if fell < -slack:
        return given
    if before.tells == "clock" or passed >= trusted:
        return replace(given, tells="clock")
    return replace(before, tells=given.tells)
