"""What the change stream brings leaves without a look in the store, as long as nothing before it was left behind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.messaging.handed import FRESH, Handed

NOW, AT_MOST = datetime(2026, 11, 28, tzinfo=UTC), 10


def row(name: str, age: timedelta = timedelta(0)) -> dict[str, Any]:
    return {"_id": name, "created_at": NOW - age}


def names(handed: Handed) -> list[str]:
    return [row["_id"] for row in handed.take()]


@pytest.fixture
def handed() -> Handed:
    """A stream is open, and a look has found nothing more."""
    made = Handed(ManualClock(NOW), AT_MOST)
    made.opened()
    look(made)
    return made


def look(handed: Handed, *, all_of_it: bool = True) -> None:
    handed.looking()
    handed.looked(all_of_it=all_of_it)


def test_what_was_brought_leaves_once_and_in_its_order(handed: Handed) -> None:
    handed.add([row("b"), row("a")])
    assert names(handed) == ["b", "a"]
    assert names(handed) == []


def test_without_a_stream_nothing_is_sure() -> None:
    handed = Handed(ManualClock(NOW), AT_MOST)
    look(handed)
    handed.add([row("a")])
    assert names(handed) == []


def test_what_was_committed_between_two_streams_is_looked_for_first(handed: Handed) -> None:
    handed.add([row("a")])
    handed.opened()
    handed.add([row("b")])
    assert names(handed) == []
    look(handed)
    handed.add([row("c")])
    assert names(handed) == ["c"]


def test_a_look_that_began_before_the_stream_makes_nothing_sure(handed: Handed) -> None:
    handed.looking()
    handed.opened()
    handed.looked(all_of_it=True)
    handed.add([row("a")])
    assert names(handed) == []


def test_a_look_that_left_something_behind_makes_nothing_sure(handed: Handed) -> None:
    look(handed, all_of_it=False)
    handed.add([row("a")])
    assert names(handed) == []


def test_what_comes_during_a_look_is_kept_unless_the_look_found_it(handed: Handed) -> None:
    handed.doubt()
    handed.looking()
    handed.add([row("found"), row("new")])
    handed.looked(all_of_it=True)
    handed.left(["found"])
    assert names(handed) == ["new"]


def test_what_came_before_a_look_is_found_by_it(handed: Handed) -> None:
    handed.add([row("a")])
    look(handed)
    assert names(handed) == []


def test_what_comes_late_may_have_left_long_ago(handed: Handed) -> None:
    handed.add([row("late", FRESH + timedelta(seconds=1)), row("next")])
    assert names(handed) == []
    handed.add([row("later")])
    assert names(handed) == [], "before a look nothing is sure any more"


def test_a_backlog_is_looked_for(handed: Handed) -> None:
    handed.add([row(str(number)) for number in range(AT_MOST)])
    handed.add([row("one more")])
    assert names(handed) == []
