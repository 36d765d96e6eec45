"""A late reading is of a backlog or of a wrong clock: what several deliveries of one device say together."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.monitoring.timing import NO_GAP, SLACK, TRUSTED, Tells, Timing, told

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def tells(deliveries: Sequence[tuple[float, float]], span: float = 0) -> list[Tells]:
    """Of each delivery by its time and its offset, both in seconds."""
    timing: Timing | None = None
    found: list[Tells] = []
    for at, offset in deliveries:
        now = NOW + timedelta(seconds=at)
        timing = told(timing, timedelta(seconds=offset), timedelta(seconds=span), now, TRUSTED, SLACK)
        found.append(timing.tells)
    return found


def test_one_delivery_that_came_late_may_be_either() -> None:
    assert tells([(0, 60)]) == ["unsure"]
    assert tells([(0, 60)], span=11) == ["late"]


def test_an_offset_that_falls_is_a_backlog() -> None:
    assert tells([(0, 60), (3, 50), (6, 40), (9, 9)]) == ["unsure", "late", "late", "now"]


def test_an_offset_that_stands_for_some_seconds_may_still_be_a_backlog() -> None:
    """Each delivery takes five seconds, because the store is slow, and tells of five."""
    assert "clock" not in tells([(0, 0), (15, 13), (20, 13.4), (24.9, 13.2), (26, 2)])


def test_an_offset_that_stands_is_a_wrong_clock() -> None:
    assert tells([(second, 60) for second in range(0, 16, 3)]) == [*["unsure"] * 4, "clock", "clock"]


def test_a_wrong_clock_that_drifts_stays_one() -> None:
    found = tells([(second, 60 + second / 10) for second in range(60)])
    assert found[10:] == ["clock"] * 50


@pytest.mark.parametrize("offset", [-11, NO_GAP.total_seconds() + 1])
def test_what_no_gap_explains_is_a_wrong_clock_at_once(offset: float) -> None:
    assert tells([(0, offset)]) == ["clock"]


def test_a_clock_that_was_set_right_is_one_of_now() -> None:
    assert tells([*[(second, 60.0) for second in range(12)], (12, 0.1), (13, 0.1)])[-2:] == ["now", "now"]
