"""Several values of one sign, device and moment: which of them counts as people decide, and change their minds."""

import pytest

from tests.integration.monitoring.test_columns import charted
from tests.integration.monitoring.test_decisions import moves, opened, waits
from tests.integration.monitoring.test_readings import another, decides, folds, rows
from tests.integration.monitoring.world import Chair

NORMAL, HIGH, OTHER = 120.0, 192.0, 121.0


async def typed(chair: Chair, *values: float) -> dict[float, str]:
    """The ids by value; by hand for one moment, and time for an alarm after them."""
    at, ids = chair.clock.clinical_now(), {}
    for value in values:
        (result,) = await chair.measures(value, at=at, device="manual")
        ids[value] = result.id
    await waits(chair, 12)
    return ids


async def decisions(chair: Chair) -> dict[float, str | None]:
    return {row["value"]: row.get("decision") for row in await rows(chair)}


async def test_a_value_that_nobody_decided_about_counts_again_when_its_twin_was_confirmed_by_a_slip(
    chair: Chair,
) -> None:
    ids = await typed(chair, NORMAL, HIGH)
    await decides(chair, ids[NORMAL], "confirmed")
    assert await opened(chair) == [False]
    await decides(chair, ids[NORMAL], "artefact")
    assert await decisions(chair) == {NORMAL: "artefact", HIGH: None}
    await waits(chair, 12)
    assert await opened(chair) == [False, True]


async def test_it_counts_again_when_the_confirmed_one_was_another_patients(chair: Chair) -> None:
    ids = await typed(chair, NORMAL, HIGH)
    await decides(chair, ids[NORMAL], "confirmed")
    await moves(chair, ids[NORMAL], await another(chair))
    await waits(chair, 12)
    assert await opened(chair) == [False, True]


async def test_an_artefact_by_a_human_stays_one_whatever_becomes_of_its_twin(chair: Chair) -> None:
    ids = await typed(chair, NORMAL, HIGH)
    await decides(chair, ids[NORMAL], "confirmed")
    await decides(chair, ids[HIGH], "artefact")
    await decides(chair, ids[NORMAL], "artefact")
    await waits(chair, 12)
    assert (await decisions(chair), await opened(chair)) == ({NORMAL: "artefact", HIGH: "artefact"}, [False])


async def test_of_two_that_were_confirmed_the_later_decision_counts(chair: Chair) -> None:
    ids = await typed(chair, NORMAL, HIGH)
    await decides(chair, ids[HIGH], "confirmed")
    await decides(chair, ids[NORMAL], "confirmed")
    assert (await decisions(chair), await opened(chair)) == ({NORMAL: "confirmed", HIGH: "artefact"}, [False])
    await decides(chair, ids[NORMAL], "artefact")
    await waits(chair, 12)
    assert (await decisions(chair), await opened(chair)) == ({NORMAL: "artefact", HIGH: "confirmed"}, [False, True])


async def test_a_value_that_was_rejected_may_be_confirmed_itself(chair: Chair) -> None:
    ids = await typed(chair, NORMAL, HIGH, OTHER)
    await decides(chair, ids[NORMAL], "confirmed")
    await decides(chair, ids[HIGH], "confirmed")
    await waits(chair, 12)
    assert await decisions(chair) == {NORMAL: "artefact", HIGH: "confirmed", OTHER: "artefact"}
    assert await opened(chair) == [False, True]


@pytest.mark.parametrize("late", [False, True], ids=["both folded", "one came later"])
async def test_in_a_folded_session_the_confirmed_one_counts_too(chair: Chair, *, late: bool) -> None:
    at = chair.clock.clinical_now()
    await chair.measures(NORMAL, at=at)
    if not late:
        await chair.measures(HIGH, at=at)
    await chair.leaves()
    await folds(chair)
    (other,) = await chair.measures(HIGH, at=at)
    for decision, twin in (("confirmed", "artefact"), ("artefact", None)):
        await decides(chair, other.id, "confirmed" if decision == "confirmed" else "artefact")
        assert {row["value"]: row.get("decision") for row in await charted(chair)} == {NORMAL: twin, HIGH: decision}


async def test_what_was_rejected_here_is_undecided_where_it_is_moved(chair: Chair) -> None:
    ids, second = await typed(chair, NORMAL, HIGH), await another(chair)
    await decides(chair, ids[NORMAL], "confirmed")
    moved = await moves(chair, ids[HIGH], second)
    assert {"decision", "rejected_by", "conflict"}.isdisjoint(moved)
    await waits(chair, 12)
    assert await opened(second) == [True]
