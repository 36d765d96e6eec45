"""While a session's readings move into columns, and after: nothing that was acknowledged is lost, or comes back."""

from datetime import UTC, datetime

import pytest

from services.monitoring.handlers import TIMER_HANDLERS
from services.monitoring.store import VITALS
from services.monitoring.usecases import charting
from services.monitoring.usecases.folding import fold_next
from shared.persistence.mongo import Document
from shared.persistence.timers import TimerRunner
from tests.integration.monitoring.test_decisions import moves
from tests.integration.monitoring.test_readings import another, folds, rows
from tests.integration.monitoring.world import NURSE, Chair

SBP, SPO2 = "8480-6", "59408-5"
A_DAY = 86_500


async def charted(chair: Chair, sign: str = SBP) -> list[Document]:
    """A sign as it is listed, hot or in columns; without the baseline's."""
    found = await chair.mongo.run(NURSE, lambda unit: charting.folded(unit, chair.session_id, sign))
    return [row for row in found or () if row["taken_at"] != chair.baseline_at]


async def listed(chair: Chair, sign: str = SBP) -> list[float]:
    return sorted(row["value"] for row in await charted(chair, sign))


async def folds_sign(chair: Chair, sign: str = SBP) -> None:
    """Step by step until the sign has gone; others are still to come."""
    while await rows(chair, sign=sign):
        assert await chair.mongo.run(NURSE, lambda unit: fold_next(unit, chair.session_id))
    assert await chair.mongo.plumbing(VITALS).find({"session_id": chair.session_id}) != []


async def test_another_value_of_a_moment_that_is_in_columns_already_takes_nothing_away(chair: Chair) -> None:
    at = chair.clock.clinical_now()
    await chair.measures(150, at=at)
    await chair.measures(97, SPO2, at=at)
    await chair.leaves()
    await folds_sign(chair, SPO2)
    (other,) = await chair.measures(93, SPO2, at=at)
    await folds(chair)
    assert (await listed(chair, SPO2), other.id.endswith("~93.0")) == ([93, 97], True)


async def test_a_repeat_while_a_session_is_being_folded_is_a_duplicate(chair: Chair) -> None:
    at = chair.clock.clinical_now()
    await chair.measures(97, SPO2, at=at)
    await chair.leaves()
    await folds_sign(chair, SPO2)
    (again,) = await chair.measures(97, SPO2, at=at)
    assert again.result == "duplicate"


async def test_what_was_moved_away_does_not_come_back_by_a_repeat_while_it_is_being_folded(chair: Chair) -> None:
    second, at = await another(chair), chair.clock.clinical_now()
    (first,) = await chair.measures(97, SPO2, at=at)
    await moves(chair, first.id, second)
    await chair.leaves()
    await folds_sign(chair, SPO2)
    await chair.measures(97, SPO2, at=at)
    await folds(chair)
    assert await listed(chair, SPO2) == []


async def test_a_reading_while_a_session_is_being_folded_delays_nothing(chair: Chair) -> None:
    await chair.measures(97, SPO2)
    await chair.leaves()
    chair.clock.advance(A_DAY)
    await folds_sign(chair, SPO2)
    await chair.measures(98, SPO2)
    await TimerRunner(chair.mongo, TIMER_HANDLERS, chair.deps, "monitoring").fire_due()
    assert await rows(chair) == []


@pytest.mark.parametrize("year", [1969, 1970])
async def test_a_clock_that_was_reset_keeps_no_session_from_being_folded(chair: Chair, year: int) -> None:
    """As an hour east of Greenwich it begins anew."""
    reset = datetime(1969, 12, 31, 23, 0, 5, tzinfo=UTC) if year == 1969 else datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
    await chair.measures(120)
    for second in range(3):
        await chair.measures(118 - second, at=reset.replace(second=5 + second))
    await chair.leaves()
    chair.clock.advance(A_DAY)
    await TimerRunner(chair.mongo, TIMER_HANDLERS, chair.deps, "monitoring").fire_due()
    assert await chair.mongo.plumbing(VITALS).find({"session_id": chair.session_id}) == []
    assert await listed(chair) == [116, 117, 118, 120]


async def test_a_reading_that_is_moved_back_is_listed_where_its_session_was_folded_meanwhile(chair: Chair) -> None:
    second = await another(chair)
    (mine,) = await chair.measures(150, device="manual")
    away = await moves(chair, mine.id, second)
    await chair.leaves()
    await folds(chair)
    await moves(second, away["_id"], chair)
    assert await listed(chair) == [150]
    await folds(chair)
    assert (await listed(chair), await rows(chair)) == ([150], [])
