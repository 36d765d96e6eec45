"""What was measured while the network was away: an episode in it is an alarm, wherever the deliveries cut it in two."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.monitoring import ingest
from services.monitoring.ingest import Ingest
from services.monitoring.store import SESSIONS
from services.monitoring.usecases.readings import Delivery, take
from shared.persistence.mongo import UnitOfWork
from tests.integration.monitoring.world import NURSE, Chair, minutes

PULSE, LOW, NORMAL = "8867-4", 36, 70
OXYGEN = "59408-5"
AWAY_SECONDS, BREACH_SECONDS = 14, 7
BY = pytest.mark.parametrize("device", ["m1", "manual"])


async def after_a_gap(
    chair: Chair, lows: Sequence[int], begin: datetime, *, parts: int = 1, newest: bool = False, device: str = "m1"
) -> None:
    """A second each, delivered together when the network is back; low in the seconds `lows`."""
    chair.clock.advance(AWAY_SECONDS)
    found = [
        chair.reading(LOW if second in lows else NORMAL, PULSE, at=begin + timedelta(seconds=second), device=device)
        for second in range(1, AWAY_SECONDS + 1)
    ]
    size = -(-len(found) // parts)
    deliveries = [found[start : start + size] for start in range(0, len(found), size)]
    for delivery in reversed(deliveries) if newest else deliveries:
        await chair.sends(*delivery)


@pytest.mark.parametrize("first", range(1, AWAY_SECONDS - BREACH_SECONDS + 2))
@pytest.mark.parametrize("dip", [False, True], ids=["calm before", "a dip before"])
@BY
async def test_an_episode_that_ends_within_the_seconds_that_count_as_now_is_an_alarm(
    chair: Chair, first: int, dip: bool, device: str
) -> None:
    await chair.measures(LOW if dip else NORMAL, PULSE)
    chair.clock.advance(1)
    await chair.measures(NORMAL, PULSE)
    lows = range(first, first + BREACH_SECONDS)
    await after_a_gap(chair, lows, chair.clock.clinical_now(), device=device)
    assert len(await chair.alarms(rule="hr_critical_low")) == 1


@pytest.mark.parametrize("newest", [False, True], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("parts", [2, 4, 7])
@pytest.mark.parametrize("dip", [False, True], ids=["calm before", "a dip before"])
@BY
async def test_so_it_is_in_whatever_parts_it_is_delivered(
    chair: Chair, parts: int, newest: bool, dip: bool, device: str
) -> None:
    await chair.measures(LOW if dip else NORMAL, PULSE)
    chair.clock.advance(1)
    await chair.measures(NORMAL, PULSE)
    await after_a_gap(
        chair, range(1, 1 + BREACH_SECONDS), chair.clock.clinical_now(), parts=parts, newest=newest, device=device
    )
    assert len(await chair.alarms(rule="hr_critical_low")) == 1


@pytest.mark.parametrize("first", range(1, AWAY_SECONDS - 3))
@BY
async def test_what_was_short_is_none(chair: Chair, first: int, device: str) -> None:
    await chair.measures(NORMAL, PULSE)
    await after_a_gap(chair, range(first, first + 4), chair.clock.clinical_now(), device=device)
    assert await chair.alarms(rule="hr_critical_low") == []


async def test_what_is_doubtful_sure_and_doubtful_again_in_one_delivery_is_stored(chair: Chair) -> None:
    begin = chair.clock.clinical_now()
    values = (LOW, NORMAL, LOW)
    readings = [chair.reading(value, PULSE, at=begin + timedelta(seconds=place)) for place, value in enumerate(values)]
    assert [result.result for result in await chair.sends(*readings)] == ["stored"] * 3
    assert sorted(row["open"] for row in await chair.alarms(rule=f"confirm:{PULSE}")) == [False, True]


@pytest.mark.parametrize("device", ["manual", "m1"])
async def test_what_is_judged_by_its_arrival_keeps_its_order(chair: Chair, device: str) -> None:
    """A dip that is over when it is told is none, however long nothing more is said."""
    for _ in range(3):  # the clock of a monitor is known to be wrong by then
        begin = chair.clock.clinical_now() - timedelta(seconds=60)
        values = (NORMAL, LOW, NORMAL)
        times = [begin + timedelta(seconds=place) for place in range(len(values))]
        await chair.sends(
            *(chair.reading(value, PULSE, at=at, device=device) for at, value in zip(times, values, strict=True))
        )
        await chair.ticks(8)
    assert await chair.alarms(rule="hr_critical_low") == []


@pytest.mark.parametrize("device", ["manual", "m1"])
async def test_what_is_told_long_after_is_no_longer_than_it_was(chair: Chair, device: str) -> None:
    """Eight seconds below the limit, told 50 s later: the alarm of five seconds, and not that of fifteen."""
    begin = chair.clock.clinical_now()
    values = (NORMAL, LOW, LOW, NORMAL, *[LOW] * 8, NORMAL)
    chair.clock.advance(52)
    times = [begin + timedelta(seconds=place) for place in range(len(values))]
    await chair.sends(
        *(chair.reading(value, PULSE, at=at, device=device) for value, at in zip(values, times, strict=True))
    )
    await chair.ticks(1)
    assert len(await chair.alarms(rule="hr_critical_low")) == 1
    assert await chair.alarms(rule="hr_warning_low") == []


@pytest.mark.parametrize("held_s", [9, 15, 25])
async def test_what_waited_for_the_store_has_no_wrong_clock(chair: Chair, held_s: int) -> None:
    """Two deliveries in a row wait equally long: to the time of their commit they are off by the same."""
    await chair.measures(NORMAL, PULSE)
    begin = chair.clock.clinical_now()
    for second in range(1, 2 * BREACH_SECONDS, 4):
        readings = [chair.reading(LOW, PULSE, at=begin + timedelta(seconds=second + number)) for number in range(4)]
        chair.clock.advance(4)
        arrived_at = chair.clock.clinical_now()
        chair.clock.advance(held_s)
        await chair.ingest.deliver(Delivery(NURSE, chair.session_id, readings, arrived_at=arrived_at))
        chair.clock.advance(-held_s)
    assert await chair.alarms(rule="clock:m1") == []
    assert len(await chair.alarms(rule="hr_critical_low")) == 1


async def test_a_value_that_is_typed_in_too_late_cuts_nothing_of_what_is_typed_in_with_it(chair: Chair) -> None:
    begin = chair.clock.clinical_now()
    found = [
        chair.reading(LOW, PULSE, at=begin + timedelta(seconds=number), device="manual") for number in range(4, 12)
    ]
    chair.clock.advance(13.2)
    await chair.sends(chair.reading(NORMAL, PULSE, at=begin + timedelta(seconds=3), device="manual"), *found[:5])
    await chair.sends(*found[5:], chair.reading(NORMAL, PULSE, at=begin + timedelta(seconds=12), device="manual"))
    assert len(await chair.alarms(rule="hr_critical_low")) == 1


async def test_an_older_value_that_is_typed_in_ends_nothing_that_goes_on(chair: Chair) -> None:
    at = chair.clock.clinical_now() + timedelta(seconds=2)
    chair.clock.advance(20)
    await chair.measures(LOW, PULSE)
    chair.clock.advance(4)
    await chair.measures(NORMAL, PULSE, at=at, device="manual")
    chair.clock.advance(1)
    await chair.measures(LOW, PULSE)
    assert len(await chair.alarms(rule="hr_critical_low")) == 1


def meeting(monkeypatch: pytest.MonkeyPatch, parties: int) -> None:
    """The first run of each batch sees nothing of the others': all have begun before any is committed."""
    met, runs = asyncio.Barrier(parties), 0

    async def together(unit: UnitOfWork, *given: Any, **how: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs <= parties:
            await unit.plumbing(SESSIONS).find_one({})
            await met.wait()
        return await take(unit, *given, **how)

    monkeypatch.setattr(ingest, "take", together)


@pytest.mark.parametrize(("until", "told_at"), [(36, 36), (60, 80)], ids=["late and of now", "late"])
async def test_an_episode_in_two_deliveries_that_are_judged_at_one_moment_is_an_alarm(
    chair: Chair, monkeypatch: pytest.MonkeyPatch, until: int, told_at: int
) -> None:
    """Neither is long enough by itself, and what they leave behind lies in two places, or of one nothing is left."""
    await chair.measures(95, OXYGEN)
    begin, cut = chair.clock.clinical_now(), 25
    low = range(cut - 3, cut - 3 + BREACH_SECONDS)
    chair.clock.advance(told_at)
    found = [
        chair.reading(88 if second in low else 95, OXYGEN, at=begin + timedelta(seconds=second))
        for second in range(1, until + 1)
    ]
    meeting(monkeypatch, 2)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for part in found[:cut], found[cut:]:
            replica = Ingest(chair.mongo, chair.deps, chair.memory)
            group.create_task(replica.deliver(Delivery(NURSE, chair.session_id, part)))
    assert len(await chair.alarms(rule="spo2_critical_low")) == 1


async def test_a_leap_within_a_backlog_is_one_alarm_of_the_graver_limit(chair: Chair) -> None:
    await chair.measures(97, OXYGEN)
    began = chair.clock.clinical_now()
    chair.clock.advance(60)
    await chair.sends(*[chair.reading(85, OXYGEN, at=began + timedelta(seconds=second)) for second in range(1, 40)])
    assert [row["rule"] for row in await chair.alarms(category="physiological")] == ["spo2_critical_low"]


@BY
async def test_a_late_value_of_an_episode_that_is_told_raises_no_milder_alarm(chair: Chair, device: str) -> None:
    begin = chair.clock.clinical_now()
    for _ in range(40):
        chair.clock.advance(1)
        await chair.measures(80, OXYGEN, device=device)
    await chair.sends(chair.reading(80, OXYGEN, at=begin + timedelta(seconds=26, milliseconds=500), device=device))
    assert [row["rule"] for row in await chair.alarms(category="physiological")] == ["spo2_critical_low"]


@pytest.mark.parametrize(("high", "rule"), [(210, "sbp_critical_high"), (170, "sbp_warning_high")])
async def test_a_breach_that_a_cuff_measured_once_within_a_backlog_is_an_alarm(
    chair: Chair, high: float, rule: str
) -> None:
    """It lasted until the next measurement, ten minutes later; live the delay would have ended by time alone."""
    await chair.measures(120)
    begin = chair.clock.clinical_now()
    chair.clock.advance(1300)
    readings = [chair.reading(value, at=begin + minutes(10 * number)) for number, value in ((1, high), (2, 125))]
    assert [row.result for row in await chair.sends(*readings)] == ["stored", "stored"]
    (alarm,) = await chair.alarms(rule=rule)
    assert alarm["open"]
    await chair.acknowledges(alarm["_id"])
    assert await chair.alarms(rule=rule, open=True) == []


async def test_what_lasted_less_than_its_delay_between_two_measurements_is_none(chair: Chair) -> None:
    begin = chair.clock.clinical_now()
    chair.clock.advance(600)
    taken = [chair.reading(value, PULSE, at=begin + timedelta(seconds=at)) for value, at in ((LOW, 60), (NORMAL, 64))]
    await chair.sends(*taken)
    assert await chair.alarms(rule="hr_critical_low") == []
