"""When a group member is given up: where it stands still, never where nobody could do better."""

from collections.abc import Collection
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from shared.messaging.progress import UNANSWERED, Progress, StandsStill

PLACE = TopicPartition("topic", 0)


class Member:
    """A consumer with one partition; `end` None: the broker does not answer it."""

    def __init__(self, end: int | None, position: int = 0) -> None:
        self.end, self.at = end, position

    async def end_offsets(self, places: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        if self.end is None:
            raise KafkaConnectionError
        return dict.fromkeys(places, self.end)

    async def position(self, _place: TopicPartition) -> int:
        return self.at


def watched(member: Any, *, answers: bool = True) -> Progress:
    async def asked() -> bool:
        return answers

    return Progress(member, asked)


async def test_a_member_that_fetches_nothing_of_what_waits_is_given_up() -> None:
    progress = watched(Member(end=5, position=3))
    await progress.look([PLACE])
    with pytest.raises(StandsStill):
        await progress.look([PLACE])


async def test_a_member_that_goes_on_is_kept_however_far_it_is_behind() -> None:
    member = Member(end=100)
    progress = watched(member)
    for position in range(5):
        member.at = position
        await progress.look([PLACE])


async def test_a_member_that_alone_gets_no_answer_is_given_up() -> None:
    progress = watched(Member(end=None))
    for _ in range(UNANSWERED - 1):
        await progress.look([PLACE])
    with pytest.raises(StandsStill):
        await progress.look([PLACE])


async def test_while_the_broker_answers_nobody_a_member_keeps_its_place_in_the_group() -> None:
    progress = watched(Member(end=None), answers=False)
    for _ in range(10 * UNANSWERED):
        await progress.look([PLACE])


async def test_what_was_asked_while_the_broker_was_away_is_not_held_against_a_member() -> None:
    there = [False]

    async def answers() -> bool:
        return there[0]

    member: Any = Member(end=None)
    progress = Progress(member, answers)
    for _ in range(UNANSWERED):
        await progress.look([PLACE])
    there[0] = True
    await progress.look([PLACE])
    member.end = 0
    await progress.look([PLACE])
