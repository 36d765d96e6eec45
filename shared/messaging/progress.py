"""Whether a group member goes on: the broker's ends against its own positions.

A client can lose its fetches in the middle of a broker's troubles without a word, and stay in its group with every
partition (seen with aiokafka 0.14.0 after a broker was killed, cut off and paused in a row). What is asked here goes the
way that the fetches go; a member that stands still is replaced by a new one. While the broker answers nobody, a new one
could do no better: the old one keeps its place in the group, and goes on at once where a new one would have to wait until
the group has given up the old.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

LOOK_SECONDS = 5.0
ANSWER_SECONDS = 4.0
UNANSWERED = 3
NO_POSITION = -1


class StandsStill(Exception):
    """Records wait and are not fetched, or the broker is not reached any more on this connection and is on another."""


class Progress:
    """One connection's. `look` is asked every `LOOK_SECONDS`. `answers`: whether the broker does, on another connection."""

    def __init__(self, consumer: AIOKafkaConsumer, answers: Callable[[], Awaitable[bool]]) -> None:
        self._consumer, self._answers = consumer, answers
        self._before: Mapping[TopicPartition, int] = {}
        self._unanswered = 0

    async def look(self, idle: Collection[TopicPartition]) -> None:
        """`idle`: the partitions of which nothing is in hand. Raises StandsStill."""
        try:
            behind = await self._behind(idle) if idle else {}
        except (KafkaError, TimeoutError, OSError):
            self._before, self._unanswered = {}, self._unanswered + 1
            if self._unanswered >= UNANSWERED:
                if await self._answers():
                    raise StandsStill from None
                self._unanswered = 0
            return
        if any(self._before.get(place) == position for place, position in behind.items()):
            raise StandsStill
        self._before, self._unanswered = behind, 0

    async def _behind(self, places: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The positions of those partitions that have more."""
        async with asyncio.timeout(ANSWER_SECONDS):
            ends = await self._consumer.end_offsets(places)
        positions = {place: await self._position(place) for place in places if ends[place] > 0}
        return {place: position for place, position in positions.items() if position < ends[place]}

    async def _position(self, place: TopicPartition) -> int:
        """`NO_POSITION` where none was found yet: aiokafka would wait for one."""
        asked = asyncio.ensure_future(self._consumer.position(place))
        done, _ = await asyncio.wait([asked], timeout=0.1)
        if not done:
            asked.cancel()
            return NO_POSITION
        return int(asked.result())
