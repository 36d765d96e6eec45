"""What the beats say, where clocks are set forward and back: nothing that stands still hides behind a future time."""

from datetime import UTC, datetime, timedelta

import pytest

from services.notifications.watch import observe, over, silent

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_session_whose_stamp_came_from_a_clock_ahead_is_missed_like_any_other() -> None:
    row = observe(None, sessions=[("s1", NOW + seconds(600))], ended=[], now=NOW)
    later = observe(row, sessions=[], ended=[], now=NOW + seconds(16))
    assert [finding.code for finding in silent(later, "c1", NOW + seconds(16))] == ["session_not_evaluated"]


def test_an_older_stamp_of_another_evaluator_takes_nothing_back() -> None:
    row = observe(None, sessions=[("s1", NOW)], ended=[], now=NOW)
    assert observe(row, sessions=[("s1", NOW - seconds(9))], ended=[], now=NOW)["sessions"] == {"s1": NOW}


@pytest.mark.parametrize(("ago_s", "ended"), [(29, False), (30, True), (-1, False), (-600, True)])
def test_a_trouble_is_over_when_nobody_told_it_for_half_a_minute_or_its_clock_was_set_back(
    ago_s: int, ended: bool
) -> None:
    assert over({"last": NOW - seconds(ago_s)}, NOW) is ended
