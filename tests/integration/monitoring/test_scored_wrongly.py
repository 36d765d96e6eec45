"""An older score that a correction or a move makes a finding, under a newer one: it was there, so it is told like a late one."""

from shared.persistence.mongo import Document
from tests.integration.monitoring.test_occurred import observes
from tests.integration.monitoring.test_scored_again import corrects, moves, opened, recovered_from, rescores
from tests.integration.monitoring.test_scored_late import recovers, rules
from tests.integration.monitoring.world import Chair, minutes

SPO2 = "59408-5"


async def test_deep_sedation_that_was_mistyped_is_told_and_over_when_somebody_has_accepted(chair: Chair) -> None:
    await rescores(chair, await recovered_from(chair, 5), 1)
    (alarm,) = await chair.alarms(rule="moaas_critical")
    assert (alarm["open"], alarm["value"], await chair.told()) == (True, 1, ["VitalsAbnormal"])
    await chair.acknowledges(alarm["_id"])
    assert await rules(chair, open=True) == []


async def test_sedation_in_recovery_is_told_and_over_at_once(chair: Chair) -> None:
    await recovers(chair)
    chair.clock.advance(60)
    await rescores(chair, await recovered_from(chair, 5), 4)
    assert await chair.told() == ["VitalsAbnormal", "AlarmCleared"]
    assert (await chair.session())["scores"]["moaas"]["value"] == 5, "what is known now stays what is newest"


async def test_what_was_expected_while_dosing_is_told_to_nobody_in_recovery(chair: Chair) -> None:
    wrong = await recovered_from(chair, 5)
    await recovers(chair)
    await rescores(chair, wrong, 3)
    assert (await chair.told(), await chair.alarms()) == ([], [])


async def test_it_is_judged_with_what_else_was_measured_then(chair: Chair) -> None:
    await chair.measures(92, SPO2)
    chair.clock.advance(1)
    await rescores(chair, await recovered_from(chair, 5), 3)
    assert "sedated_and_desaturating" in await rules(chair, priority="high")


async def test_what_it_told_already_is_not_told_again_for_another_time(chair: Chair) -> None:
    sedated = await recovered_from(chair, 1)
    (alarm,) = await chair.alarms(rule="moaas_critical")
    await chair.acknowledges(alarm["_id"])
    await corrects(chair, sedated, occurred_at=sedated["occurred_at"] - minutes(1))
    assert (await opened(chair), (await chair.told()).count("VitalsAbnormal")) == ([False], 1)


async def test_a_score_that_was_another_patients_is_told_where_it_belongs(chair: Chair) -> None:
    other = await Chair(chair.mongo, chair.clock).seat()
    sedated = await recovered_from(chair, 1)
    await observes(other, 5)
    await moves(chair, sedated, other)
    assert (await opened(chair), await opened(other)) == ([False], [True])


async def test_a_milder_finding_is_told_where_the_graver_was_a_typing_error(chair: Chair) -> None:
    await recovers(chair)
    chair.clock.advance(60)
    await rescores(chair, await recovered_from(chair, 1), 4)
    assert sorted(await rules(chair)) == ["moaas_critical", "moaas_warning"]
    assert await rules(chair, open=True) == []


async def test_sedation_that_counts_again_is_told_anew(chair: Chair) -> None:
    other = await Chair(chair.mongo, chair.clock).seat()
    sedated = await recovered_from(chair, 1)
    await rescores(chair, sedated, 5)
    await rescores(chair, sedated, 1)
    assert sorted(await opened(chair)) == [False, True]
    chair.clock.advance(1)
    await moves(chair, sedated, other)
    (there,) = [row for row in await written(other) if row["facts"].get("moved_entry")]
    await moves(other, there, chair)
    assert sorted(await opened(chair)) == [False, False, True]


async def written(chair: Chair) -> list[Document]:
    return await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": "observation"})
