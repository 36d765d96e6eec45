"""A reading that is moved meets what its patient has already: nothing of that is lost, and it is judged where it belongs."""

from datetime import datetime

import pytest

from services.monitoring.store import VITALS
from services.monitoring.vitals import Outcome
from shared.persistence.mongo import Document
from tests.integration.monitoring.test_columns import listed
from tests.integration.monitoring.test_decisions import moves
from tests.integration.monitoring.test_readings import another, decides, folds, rows
from tests.integration.monitoring.world import Chair

TEMPERATURE, SYSTOLIC = "8310-5", "8480-6"


@pytest.fixture
async def second(chair: Chair) -> Chair:
    return await another(chair)


async def types(chair: Chair, value: float, at: datetime) -> Outcome:
    (result,) = await chair.measures(value, at=at, device="manual")
    return result


async def test_another_value_of_its_moment_stands_beside_it_as_a_conflict(chair: Chair, second: Chair) -> None:
    at = chair.clock.clinical_now()
    mine = await types(chair, 150, at)
    await types(second, 118, at)
    moved = await moves(chair, mine.id, second)
    assert (moved["conflict"], sorted(row["value"] for row in await rows(second))) == (True, [118, 150])


async def test_a_conflict_that_is_moved_to_where_it_is_alone_is_none(chair: Chair, second: Chair) -> None:
    at = chair.clock.clinical_now()
    await types(chair, 118, at)
    other = await types(chair, 150, at)
    moved = await moves(chair, other.id, second)
    assert ("conflict" in moved, "~" in moved["_id"]) == (False, False)


async def test_a_folded_sessions_own_reading_of_that_moment_stays(chair: Chair, second: Chair) -> None:
    at = chair.clock.clinical_now()
    mine = await types(chair, 150, at)
    await types(second, 118, at)
    await second.leaves()
    await folds(second)
    moved = await moves(chair, mine.id, second)
    for _ in range(2):
        assert (await listed(second), moved["conflict"]) == ([118, 150], True)
        await folds(second)


@pytest.mark.parametrize("folded", [False, True], ids=["hot", "folded"])
async def test_the_same_value_that_lies_there_keeps_what_was_decided_about_it(
    chair: Chair, second: Chair, *, folded: bool
) -> None:
    at = chair.clock.clinical_now()
    mine, theirs = await types(chair, 150, at), await types(second, 150, at)
    await decides(second, theirs.id, "artefact")
    if folded:
        await second.leaves()
        await folds(second)
    for _ in range(2):
        moved = await moves(chair, mine.id, second)
        assert (moved["_id"], moved["decision"]) == (theirs.id, "artefact")
    assert [row["moved_to"] for row in await rows(chair)] == [second.session_id]


async def test_a_moved_reading_may_go_back_and_come_again(chair: Chair, second: Chair) -> None:
    mine = await types(chair, 150, chair.clock.clinical_now())
    away = await moves(chair, mine.id, second)
    await moves(second, away["_id"], chair)
    again = await moves(chair, mine.id, second)
    assert [row["_id"] for row in await here(second)] == [again["_id"]]
    assert await here(chair) == []


async def here(chair: Chair) -> list[Document]:
    query = {"session_id": chair.session_id, "moved_to": None, "taken_at": {"$ne": chair.baseline_at}}
    return await chair.mongo.plumbing(VITALS).find(query)


async def test_what_was_measured_before_the_end_of_its_session_is_an_alarm_there_and_over(
    chair: Chair, second: Chair
) -> None:
    low = await types(chair, 35, chair.clock.clinical_now())
    chair.clock.advance(60)
    await second.leaves()
    moved = await moves(chair, low.id, second)
    assert ([(row["rule"], row["open"]) for row in await second.alarms()], "after_end" in moved) == (
        [("sbp_collapse", False)],
        False,
    )


async def test_a_breach_of_several_readings_is_one_alarm_of_the_session_that_has_ended(
    chair: Chair, second: Chair
) -> None:
    high = []
    for _ in range(20):
        high += await chair.measures(170)
        chair.clock.advance(1)
    await second.leaves()
    for reading in high:
        await moves(chair, reading.id, second)
    assert [row["open"] for row in await second.alarms(rule="sbp_warning_high")] == [False]
    assert await second.alarms(open=True) == []


@pytest.mark.parametrize("value", [35, 310])
async def test_what_was_measured_after_the_end_or_is_not_believed_is_none(
    chair: Chair, second: Chair, value: float
) -> None:
    before = await types(chair, 310, chair.clock.clinical_now())
    chair.clock.advance(1)
    await second.leaves()
    chair.clock.advance(60)
    after = await types(chair, value, chair.clock.clinical_now())
    moved = [await moves(chair, reading.id, second) for reading in (before, after)]
    assert (await second.alarms(), [row.get("after_end") for row in moved]) == ([], [None, True])
