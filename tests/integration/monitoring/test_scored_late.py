"""Sedation that is written down after a newer score: it was there, so it is told like a late reading, once."""

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import dosing
from tests.integration.monitoring.test_occurred import observes
from tests.integration.monitoring.world import Chair, minutes

SPO2 = "59408-5"


async def recovers(chair: Chair) -> None:
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, "stop", schemas.Infusion()))


async def writes_late(chair: Chair, score: int, *, ago: float = 2, newest: int = 5) -> None:
    await observes(chair, newest)
    chair.clock.advance(30)
    await observes(chair, score, chair.clock.clinical_now() - minutes(ago))


async def rules(chair: Chair, **query: object) -> list[str]:
    return [alarm["rule"] for alarm in await chair.alarms(**query)]


async def test_deep_sedation_is_told_and_over_when_somebody_has_accepted(chair: Chair) -> None:
    chair.clock.advance(180)
    await writes_late(chair, 1)
    (alarm,) = await chair.alarms(rule="moaas_critical")
    assert (alarm["open"], alarm["value"]) == (True, 1)
    assert await chair.told() == ["VitalsAbnormal"]
    await chair.acknowledges(alarm["_id"])
    assert await rules(chair, open=True) == []


async def test_sedation_in_recovery_is_told_and_over_at_once(chair: Chair) -> None:
    await recovers(chair)
    chair.clock.advance(180)
    await writes_late(chair, 4)
    assert await chair.told() == ["VitalsAbnormal", "AlarmCleared"]
    assert (await chair.session())["scores"]["moaas"]["value"] == 5, "what is known now stays what is newest"


async def test_what_was_expected_while_dosing_is_told_to_nobody_in_recovery(chair: Chair) -> None:
    chair.clock.advance(60)
    await recovers(chair)
    chair.clock.advance(60)
    await writes_late(chair, 3, ago=2)
    assert (await chair.told(), await chair.alarms()) == ([], [])
    await writes_late(chair, 2, ago=2.5)
    assert await rules(chair) == ["moaas_critical"]


async def test_it_is_judged_with_what_else_was_measured_then(chair: Chair) -> None:
    chair.clock.advance(60)
    await chair.measures(92, SPO2)
    chair.clock.advance(60)
    await writes_late(chair, 3, ago=1)
    assert "sedated_and_desaturating" in await rules(chair, priority="high")


@pytest.mark.parametrize("score", [2, 3, 4, 5])
async def test_what_a_standing_alarm_has_told_is_not_told_again(chair: Chair, score: int) -> None:
    await recovers(chair)
    await observes(chair, 2)
    chair.clock.advance(180)
    before = await chair.told()
    await writes_late(chair, score, newest=2)
    assert await rules(chair, open=True) == ["moaas_critical"]
    assert await chair.told() == before


async def test_a_late_score_of_an_alert_patient_ends_nothing(chair: Chair) -> None:
    await recovers(chair)
    chair.clock.advance(180)
    await writes_late(chair, 5, newest=4)
    (alarm,) = await chair.alarms()
    assert (alarm["rule"], alarm["open"]) == ("moaas_warning", True)


async def test_written_late_twice_it_is_one_alarm(chair: Chair) -> None:
    chair.clock.advance(180)
    at = chair.clock.clinical_now() - minutes(1)
    await observes(chair, 5)
    chair.clock.advance(10)
    for _ in range(2):
        await observes(chair, 1, at)
        (alarm,) = await chair.alarms()
        await chair.acknowledges(alarm["_id"])
        await chair.ticks(60)
    assert (await chair.told()).count("VitalsAbnormal") == 1
