"""One limit's breaches in the order in which they were measured, whatever the order in which they arrived. Pure.

`base` stands before the points that are kept, `head` after them; a reading that came late is put in its place and the
points are gone through again. What is older than `SPAN` behind the newest point is final.
"""

from bisect import insort
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.monitoring.limits import Limit

SPAN = timedelta(seconds=20)  # twice that in which the time of measurement counts: a clock may be ahead by as much
KEPT = 128  # six devices at 1 Hz; of a flood less than `SPAN` is kept, so that it costs no more
JUMP_WINDOW = timedelta(seconds=60)
Point = tuple[datetime, float]


class Course(NamedTuple):
    """Where a limit stands after a point: broken since, for longer than its delay, back since, the newest breach and point.

    `over_at`: when the sign was back for as long as its rule asks, the last time.
    """

    since: datetime | None = None
    reached: bool = False
    normal_since: datetime | None = None
    breached_at: datetime | None = None
    worst: float | None = None
    at: datetime | None = None
    value: float | None = None
    over_at: datetime | None = None


class Episode(NamedTuple):
    """A breach that lasted its delay; `end` is None while it goes on. `value` and `at` are of its newest breach.

    `over_at`: when the sign was well the last time before it.
    """

    since: datetime
    end: datetime | None
    at: datetime
    value: float
    over_at: datetime | None = None


class Track(NamedTuple):
    """What is kept of a limit's readings."""

    base: Course
    points: tuple[Point, ...]
    head: Course


AT_REST = Course()


def step(course: Course, limit: Limit, at: datetime, value: float) -> Course:
    """One more point, not older than those before it."""
    since, reached, normal_since, breached_at, worst, before_at, before, over_at = course
    if limit.breached(value):
        start = since or at
        reached = reached or (at - start).total_seconds() >= limit.rule.delay_s
        if not reached and before is not None and before_at is not None and at - before_at <= JUMP_WINDOW:
            reached = limit.jumped(before, value)
        return Course(start, reached, None, at, value, at, value, over_at)
    back = limit.back(value)
    if since is not None and (back or not reached):
        since, reached = None, False
    if back:
        normal_since = normal_since or at
        if (at - normal_since).total_seconds() >= limit.rule.normal_s:
            over_at = at
    return Course(since, reached, normal_since, breached_at, worst, at, value, over_at)


def begin(limit: Limit, at: datetime, value: float, earlier: Sequence[Point]) -> tuple[Track, list[Episode]]:
    """From rest: with the sign's recent readings, of which nothing was kept because all was well."""
    worst: dict[datetime, float] = {}
    for moment, known in earlier:
        if moment not in worst or limit.worse(known, worst[moment]):
            worst[moment] = known
    return _insert(Track(AT_REST, tuple(sorted(worst.items())), AT_REST), limit, at, value)


def advance(track: Track, limit: Limit, at: datetime, value: float) -> tuple[Track, list[Episode]]:
    """The track with one more reading, and every episode that the reading belongs to, ends or begins."""
    base, points, head = track
    if head.at is not None and at <= head.at:
        return _insert(track, limit, at, value)
    after = step(head, limit, at, value)
    episodes = [_episode(after, None)] if after.reached else []
    kept, oldest = (*points, (at, value)), at - SPAN
    cut = 0
    while kept[cut][0] < oldest or len(kept) - cut > KEPT:
        base = step(base, limit, *kept[cut])
        cut += 1
    return Track(base, kept[cut:], after), episodes


def reaches(track: Track, at: datetime) -> bool:
    """Whether a reading of this time can still be put in its place; what lies before the points is final."""
    return bool(track.points) and at >= track.points[0][0]


def _insert(track: Track, limit: Limit, at: datetime, value: float) -> tuple[Track, list[Episode]]:
    """Of two values for one moment the worse counts."""
    points = list(track.points)
    twin = next((number for number, point in enumerate(points) if point[0] == at), None)
    if twin is None:
        insort(points, (at, value))
    elif limit.worse(value, points[twin][1]):
        points[twin] = (at, value)
    course, episodes = track.base, list[Episode]()
    for moment, known in points:
        after = step(course, limit, moment, known)
        if course.reached and after.since != course.since:
            episodes.append(_episode(course, moment))
        course = after
    if course.reached:
        episodes.append(_episode(course, None))
    base, oldest = track.base, points[-1][0] - SPAN
    while points[0][0] < oldest or len(points) > KEPT:
        base = step(base, limit, *points.pop(0))
    touched = [episode for episode in episodes if episode.end is None or episode.end >= at]
    return Track(base, tuple(points), course), touched


def _episode(course: Course, end: datetime | None) -> Episode:
    assert course.since is not None  # noqa: S101 - reached only while broken
    assert course.breached_at is not None  # noqa: S101
    assert course.worst is not None  # noqa: S101
    return Episode(course.since, end, course.breached_at, course.worst, course.over_at)


def intervals(limit: Limit, readings: Sequence[Point]) -> list[tuple[datetime, datetime | None]]:
    """Every breach within these readings, short ones too, from its first reading to the one that ended it."""
    course, found = AT_REST, list[tuple[datetime, datetime | None]]()
    for at, value in sorted(readings):
        after = step(course, limit, at, value)
        if course.since is not None and after.since is None:
            found.append((course.since, at))
        course = after
    if course.since is not None:
        found.append((course.since, None))
    return found
