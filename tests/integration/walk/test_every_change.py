"""What was promised of every operation that changes something."""

from tests.integration.walk.walk import Walk
from tests.support.operations import OPERATIONS


def test_a_keyed_post_answers_the_second_time_as_the_first_and_changes_nothing(walk: Walk) -> None:
    assert walk.badly_repeated == []
    assert {name for name, one in OPERATIONS.items() if one.takes("IdempotencyKey")} - walk.walked == set()


def test_whoever_takes_if_match_refuses_a_stale_one_and_where_it_is_demanded_a_missing_one(walk: Walk) -> None:
    assert walk.badly_matched == []
    demanding = {name for name, one in OPERATIONS.items() if one.takes("IfMatchNeeded") or one.takes("IfMatch")}
    assert demanding - walk.walked == set()
