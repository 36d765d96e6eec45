"""The inbox: by what a record is known again, what leaves no mark, and when marks are read."""

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from deploy.local.stack import Stack
from shared.messaging.handling import Pipeline
from shared.messaging.outcomes import Done
from shared.persistence.mongo import Mongo
from tests.integration.messaging.test_bad_records import changed
from tests.integration.messaging.test_consumer import one_record, some_records
from tests.integration.messaging.world import Effects, effects


@pytest.mark.parametrize(("header", "other"), [("ce_source", b"/stillwater/intake/2"), ("ce_clinicid", b"clinic-2")])
async def test_an_id_that_comes_from_elsewhere_too_takes_effect_twice(mongo: Mongo, header: str, other: bytes) -> None:
    record = await one_record(mongo)
    renamed = [(name, other if name == header else item) for name, item in record.headers]
    assert renamed != list(record.headers)
    pipeline = Effects().pipeline(mongo)
    assert await pipeline.handle(record) == Done()
    assert await pipeline.handle(changed(record, headers=renamed)) == Done()
    assert len(await effects(mongo)) == 2


async def test_a_known_event_that_the_service_does_not_handle_leaves_nothing(mongo: Mongo) -> None:
    record = await one_record(mongo)
    pipeline = Pipeline(mongo, "test", "group", {}, None)
    assert await pipeline.handle(record) is None
    assert await pipeline.handle_batch([record]) == [None]
    assert await mongo.plumbing("inbox").find({}) == await mongo.plumbing("dead_letters").find({}) == []


class Questions(CommandListener):
    """How many marks were asked for at each look into the inbox."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "find" and event.command["find"] == "inbox":
            self.seen.append(len(event.command["filter"]["_id"]["$in"]))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


async def test_marks_are_read_all_at_once_after_a_start_and_while_repetitions_come(stores: Stack, mongo: Mongo) -> None:
    a, b, c, d, e, f, g, h = await some_records(mongo, *"abcdefgh")
    questions = Questions()
    mongo = Mongo(stores.mongodb_uri, mongo.database.name, mongo.clock, listeners=[questions])
    pipeline = Effects().pipeline(mongo)
    asked: list[list[int]] = []
    for batch in ([a, b], [c, d], [d, e], [f, g], [h]):
        questions.seen.clear()
        await pipeline.handle_batch(batch)
        asked.append(list(questions.seen))
    assert asked == [[2], [], [2], [2], []]
    assert await effects(mongo) == [*"abcdefgh"]
