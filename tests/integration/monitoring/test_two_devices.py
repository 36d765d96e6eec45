"""Two devices at one chair that differ: the worse of both reaches a human, alone and together with other signs."""

from datetime import timedelta

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import correcting
from shared.errors import Unavailable
from tests.integration.monitoring.test_engine import observes
from tests.integration.monitoring.world import Chair

SPO2, RR, PULSE = "59408-5", "9279-1", "8867-4"
LOW, WELL = 36, 70
MONITOR, SPARE = "m1", "m2"
DEPRESSION, SEDATED = "respiratory_depression", "sedated_and_desaturating"


async def differ(
    chair: Chair, seconds: int, sign: str = PULSE, of_monitor: float = LOW, of_spare: float = WELL
) -> None:
    for _ in range(seconds):
        await chair.measures(of_monitor, sign, device=MONITOR)
        chair.clock.advance(0.5)
        await chair.measures(of_spare, sign, device=SPARE)
        chair.clock.advance(0.5)


async def test_a_normal_value_of_another_device_hides_no_breach(chair: Chair) -> None:
    await differ(chair, 7)
    assert [row["open"] for row in await chair.alarms(rule="hr_critical_low")] == [True]


async def test_a_normal_value_of_another_device_clears_no_accepted_alarm(chair: Chair) -> None:
    await differ(chair, 7)
    (alarm,) = await chair.alarms(rule="hr_critical_low")
    await chair.acknowledges(alarm["_id"])
    await differ(chair, 3)
    assert [row["_id"] for row in await chair.alarms(rule="hr_critical_low", open=True)] == [alarm["_id"]]
    await chair.measures(WELL, PULSE, device=MONITOR)
    assert not await chair.alarms(rule="hr_critical_low", open=True)


async def test_a_normal_value_of_another_device_ends_no_finding_of_two_signs(chair: Chair) -> None:
    await chair.measures(9, RR, device=MONITOR)
    await differ(chair, 1, SPO2, 93, 97)
    (alarm,) = await chair.alarms(rule=DEPRESSION)
    await chair.acknowledges(alarm["_id"])
    await differ(chair, 3, SPO2, 93, 97)
    assert [row["_id"] for row in await chair.alarms(rule=DEPRESSION, open=True)] == [alarm["_id"]]


async def test_a_finding_of_two_signs_stands_though_another_device_sees_but_one(chair: Chair) -> None:
    """The monitor sees both; the spare's saturation comes between its own two."""

    async def seconds(number: int) -> None:
        for _ in range(number):
            await chair.measures(92, SPO2, device=MONITOR)
            chair.clock.advance(0.5)
            await chair.measures(97, SPO2, device=SPARE)
            chair.clock.advance(0.2)
            await chair.measures(9, RR, device=MONITOR)
            chair.clock.advance(0.3)

    await seconds(2)
    (alarm,) = await chair.alarms(rule=DEPRESSION)
    await chair.acknowledges(alarm["_id"])
    await seconds(3)
    assert [(row["_id"], row["open"]) for row in await chair.alarms(rule=DEPRESSION)] == [(alarm["_id"], True)]


async def test_a_sedation_that_is_noted_ends_no_finding_beside_another_devices_value(chair: Chair) -> None:
    await observes(chair, 3)
    await differ(chair, 2, SPO2, 93, 97)
    (alarm,) = await chair.alarms(rule=SEDATED)
    await chair.acknowledges(alarm["_id"])
    await differ(chair, 1, SPO2, 93, 97)
    await observes(chair, 3)
    assert [(row["_id"], row["open"]) for row in await chair.alarms(rule=SEDATED)] == [(alarm["_id"], True)]


async def test_a_decision_leaves_the_alarm_of_two_signs_that_one_of_two_devices_sees(chair: Chair) -> None:
    doubted = ""
    for _ in range(3):
        now = chair.clock.clinical_now()
        (artefact, *_) = await chair.sends(
            chair.reading(97, SPO2, at=now, device=SPARE),
            chair.reading(92, SPO2, at=now, device=MONITOR),
            chair.reading(9, RR, at=now, device=MONITOR),
        )
        doubted = artefact.id
        chair.clock.advance(1)
    (alarm,) = await chair.alarms(rule=DEPRESSION)
    body = schemas.Decision(reason_code="artefact")
    await chair._run(lambda unit: correcting.decide(unit, chair.deps, chair.session_id, doubted, "artefact", body))
    assert [(row["_id"], row["open"]) for row in await chair.alarms(rule=DEPRESSION)] == [(alarm["_id"], True)]


async def test_a_backlog_of_two_devices_that_differ_is_an_alarm(chair: Chair) -> None:
    began = chair.clock.clinical_now()
    chair.clock.advance(60)
    taken = {MONITOR: (LOW, 0.0), SPARE: (WELL, 0.5)}
    backlog = [
        chair.reading(value, PULSE, at=began + timedelta(seconds=second + later), device=device)
        for second in range(20)
        for device, (value, later) in taken.items()
    ]
    await chair.sends(*backlog)
    assert len(await chair.alarms(rule="hr_critical_low")) == 1


@pytest.mark.parametrize("values", [(92, 98), (98, 92)], ids=str)
async def test_of_two_values_for_one_moment_the_finding_counts_with_another_sign(
    chair: Chair, values: tuple[float, float]
) -> None:
    at = chair.clock.clinical_now()
    for value in values:
        await chair.measures(value, SPO2, at=at)
    chair.clock.advance(1)
    await chair.measures(9, RR)
    assert [row["open"] for row in await chair.alarms(rule=DEPRESSION)] == [True]


@pytest.mark.parametrize("apart", [False, True], ids=["in one delivery", "in one per sign"])
async def test_two_warnings_at_once_within_a_backlog_are_one_critical_finding(chair: Chair, apart: bool) -> None:
    began = chair.clock.clinical_now()
    chair.clock.advance(120)
    seconds = [began + timedelta(seconds=second) for second in range(20)]
    oxygen = [chair.reading(93 if number < 5 else 97, SPO2, at=at) for number, at in enumerate(seconds)]
    breaths = [chair.reading(9 if number < 5 else 14, RR, at=at) for number, at in enumerate(seconds)]
    for delivery in [oxygen, breaths] if apart else [oxygen + breaths]:
        await chair.sends(*delivery)
    assert [row["value"] for row in await chair.alarms(rule=DEPRESSION)] == [2]


async def test_two_warnings_of_different_times_within_a_backlog_are_none(chair: Chair) -> None:
    began = chair.clock.clinical_now()
    chair.clock.advance(300)
    first, second = began + timedelta(seconds=1), began + timedelta(seconds=100)
    await chair.sends(
        chair.reading(93, SPO2, at=first),
        chair.reading(97, SPO2, at=first + timedelta(seconds=1)),
        chair.reading(9, RR, at=second),
        chair.reading(14, RR, at=second + timedelta(seconds=1)),
        chair.reading(14, RR, at=second + timedelta(seconds=15)),
    )
    assert await chair.alarms(rule=DEPRESSION) == []


async def test_with_the_store_gone_two_warnings_at_once_are_one_critical_finding(
    chair: Chair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chair.memory.refresh()

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(chair.mongo, "run", away)
    for value, sign in ((93, SPO2), (9, RR)):
        with pytest.raises(Unavailable):
            await chair.measures(value, sign)
    assert [alarm.rule for alarm in chair.memory.unrecorded("clinic-1")] == [DEPRESSION]
    monkeypatch.undo()
