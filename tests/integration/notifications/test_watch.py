"""The watch over monitoring and over the services: what falls silent, what cannot be recorded, sent or read, is a page."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.notifications.beats import Watch
from shared.events import intake, monitoring
from shared.messaging.outcomes import Reject
from shared.messaging.record import Record
from tests.integration.messaging.test_bad_records import SPOILED, changed, with_header
from tests.integration.notifications.world import CLINIC, PATIENT, World

SINCE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
UNRECORDED = monitoring.UnrecordedAlarm(session_id="s1", rule="spo2_critical_low", priority="high", since=SINCE)


def beat(world: World, *sessions: str, **changed: Any) -> monitoring.EvaluatorBeat:
    at = world.clock.system_now()
    stamps = [monitoring.EvaluatedSession(session_id=name, last_evaluated_at=at) for name in sessions]
    return monitoring.EvaluatorBeat(evaluator="e1", at=at, **{"store": "ok", "sessions": stamps, **changed})


def watch(world: World) -> Watch:
    return Watch(world.mongo, world.deps, lambda: None)


@pytest.mark.parametrize("rate", [1, 60])
async def test_monitoring_that_falls_silent_is_paged_once_by_however_many_watchers(world: World, rate: float) -> None:
    """In real time, however fast the clinical day goes."""
    world.clock.rate = rate
    await world.staff(nurse=["n1"], prescriber=["p1"])
    await watch(world).take_beat(CLINIC, beat(world, "s1"))
    world.clock.advance(14 * rate)
    await watch(world).look_for_silence()
    await world.send()
    assert world.pager.calls == []
    world.clock.advance(2 * rate)
    for _ in range(2):
        await watch(world).look_for_silence()
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert "not heard, look at the board" in world.pager.calls[0][2]["text"]


async def test_sessions_that_age_because_no_beat_comes_are_one_page_and_not_one_each(world: World) -> None:
    """A stamp is always older than the beat that brings it."""
    await world.staff(nurse=["n1"])
    stamps = [
        monitoring.EvaluatedSession(session_id=name, last_evaluated_at=world.clock.system_now()) for name in "abc"
    ]
    world.clock.advance(3)
    await watch(world).take_beat(CLINIC, beat(world, sessions=stamps))
    for _ in range(16):
        world.clock.advance(1)
        await watch(world).look_for_silence()
    await world.send()
    assert [call[2]["alarm"]["what"] for call in world.pager.calls] == [
        "monitoring of this clinic is not heard, look at the board and at the monitors"
    ]


@pytest.mark.parametrize(
    ("still", "said"),
    [
        (("a",), "this session is not being evaluated, look at the monitor"),
        (("a", "b"), "sessions are not being evaluated, look at the board and at the monitors (2 sessions)"),
    ],
)
async def test_sessions_that_stand_still_at_the_same_time_are_one_page(
    world: World, still: tuple[str, ...], said: str
) -> None:
    await world.staff(nurse=["n1"])
    since, looking = world.clock.system_now(), watch(world)
    stopped = [monitoring.EvaluatedSession(session_id=name, last_evaluated_at=since) for name in still]
    for _ in range(10):
        goes_on = monitoring.EvaluatedSession(session_id="c", last_evaluated_at=world.clock.system_now())
        await looking.take_beat(CLINIC, beat(world, sessions=[*stopped, goes_on]))
        await looking.look_for_silence()
        world.clock.advance(3)
    await world.send()
    assert [call[2]["alarm"]["what"] for call in world.pager.calls] == [said]


async def test_a_session_that_stands_still_after_another_is_told_too(world: World) -> None:
    await world.staff(nurse=["n1"])
    since, looking = world.clock.system_now(), watch(world)
    for _ in range(10):
        later = min(world.clock.system_now(), since + timedelta(seconds=8))
        stamps = {"a": since, "b": later, "c": world.clock.system_now()}
        told = [monitoring.EvaluatedSession(session_id=name, last_evaluated_at=at) for name, at in stamps.items()]
        await looking.take_beat(CLINIC, beat(world, sessions=told))
        await looking.look_for_silence()
        world.clock.advance(4)
    await world.send()
    assert [call[2]["alarm"]["what"] for call in world.pager.calls] == [
        "this session is not being evaluated, look at the monitor"
    ] * 2


async def test_monitorings_silence_escalates_like_a_high_alarm_until_it_is_heard_again(world: World) -> None:
    await world.staff(nurse=["n1"], prescriber=["p1"])
    await watch(world).take_beat(CLINIC, beat(world, "s1", "s2"))
    world.clock.advance(16)
    await watch(world).look_for_silence()
    await world.pass_time(61)
    assert "pager-p1" in world.pager.addressees
    await watch(world).take_beat(CLINIC, beat(world, "s1", "s2"))
    told = len(world.pager.calls)
    await world.pass_time(300)
    assert len(world.pager.calls) == told


async def test_a_session_that_ended_is_not_missed(world: World) -> None:
    await watch(world).take_beat(CLINIC, beat(world, "s1"))
    completed = monitoring.SessionCompleted(
        patient_id=PATIENT, session_id="s1", duration_min=100, dose_total_mg=35, alarm_count=0, outcome_code="completed"
    )
    await world.handle(completed)
    world.clock.advance(60)
    await watch(world).look_for_silence()
    await world.send()
    assert world.pager.calls == []


async def test_a_store_that_is_gone_and_an_unrecorded_alarm_are_paged_once(world: World) -> None:
    for _ in range(3):
        await watch(world).take_beat(CLINIC, beat(world, "s1", store="gone", unrecorded=[UNRECORDED]))
        world.clock.advance(5)
    await world.send()
    texts = sorted(call[2]["text"] for call in world.pager.calls)
    assert len(texts) == 2
    assert "alarm not recorded" in texts[0]
    assert "cannot record" in texts[1]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"store": "gone"}, "cannot record"),
        ({"unsent_since": SINCE}, "recorded and not sent"),
        ({"unrecorded": [UNRECORDED]}, "alarm not recorded"),
    ],
)
async def test_what_a_beat_reports_escalates_like_a_high_alarm_until_nobody_tells_it(
    world: World, told: dict[str, Any], said: str
) -> None:
    await world.staff(nurse=["n1"], prescriber=["p1"])
    for _ in range(14):
        await watch(world).take_beat(CLINIC, beat(world, "s1", **told))
        await world.pass_time(5)
    assert {"pager-n1", "pager-p1"} <= set(world.pager.addressees)
    assert all(said in call[2]["text"] for call in world.pager.calls)
    await world.pass_time(31)
    await watch(world).look_for_silence()
    pages = [call for call in world.pager.calls if said in call[2]["text"]]
    await world.pass_time(300)
    assert [call for call in world.pager.calls if said in call[2]["text"]] == pages


async def test_an_alarm_that_could_not_be_recorded_is_paged_with_its_chair_and_a_link(world: World) -> None:
    await world.staff(nurse=["n1", "n2"])
    await world.checks_in("n2")
    await watch(world).take_beat(CLINIC, beat(world, "s1", unrecorded=[UNRECORDED]))
    await world.send()
    assert world.pager.addressees == ["pager-n2"]
    page = world.pager.calls[0][2]["alarm"]
    assert (page["room"], page["chair"]) == ("Room 2", "B")
    assert page["link"].startswith("http://notifications.test/v1/links/")


async def test_a_store_that_one_evaluator_misses_and_another_has_is_one_page(world: World) -> None:
    for _ in range(4):
        for store in ("gone", "ok"):
            await watch(world).take_beat(CLINIC, beat(world, "s1", store=store))
        world.clock.advance(5)
    await world.send()
    assert len(world.pager.calls) == 1
    world.clock.advance(61)
    await watch(world).take_beat(CLINIC, beat(world, "s1", store="gone"))
    await world.send()
    assert len(world.pager.calls) == 2


async def test_alarms_that_wait_for_the_relay_are_paged_once_by_way_of_the_beat(world: World) -> None:
    await world.staff(nurse=["n1"])
    for _ in range(3):
        await watch(world).take_beat(CLINIC, beat(world, "s1", unsent_since=world.clock.system_now()))
        world.clock.advance(5)
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert "recorded and not sent, look at the board" in world.pager.calls[0][2]["text"]


NAMELESS: list[tuple[str, Callable[[Record], Record]]] = [
    ("an empty clinic", lambda good: with_header(good, "ce_clinicid", b"")),
    ("a clinic that is no text", lambda good: with_header(good, "ce_clinicid", b"\xff")),
    ("a header without a value", lambda good: changed(good, headers=[*good.headers, ("ce_clinicid", None)])),
    ("a clinic of odd signs", lambda good: with_header(changed(good, value=b"{"), "ce_clinicid", b"$a.b\x00")),
    ("another key", lambda good: changed(good, value=b"{", key=b"\xff\x00")),
    ("no key", lambda good: changed(good, value=b"{", key=None)),
]


async def test_whatever_makes_an_alarm_unreadable_a_human_is_paged_and_its_bytes_are_kept(world: World) -> None:
    """By the fallback pager where even the clinic cannot be read; and one of them keeps back no other."""
    await world.staff(nurse=["n1"])
    spoiled = [row[:2] for row in SPOILED] + NAMELESS
    kept = {}
    for number, (_, spoil) in enumerate(spoiled):
        good = world.record(monitoring.VitalsAbnormal, world.alarm().model_dump_json().encode(), offset=number)
        bad = spoil(good)
        assert isinstance(await world.take(monitoring.VitalsAbnormal, bad), Reject)
        kept[number] = (bad.key, bad.value, [list(header) for header in bad.headers])
    await watch(world).look_for_unreadable()
    await world.send()
    assert len(world.pager.calls) == len(spoiled)
    assert set(world.pager.addressees) == {"pager-n1", "pager-fallback"}
    letters = await world.rows("dead_letters")
    assert {row["offset"]: (row["key"], row["value"], row["headers"]) for row in letters} == kept


async def test_an_alarm_of_a_clinic_that_nobody_knows_rings_the_fallback_pager(world: World) -> None:
    await world.staff(nurse=["n1"])
    await world.handle(world.alarm(), clinic="clinic-of-nobody")
    await world.send()
    assert world.pager.addressees == ["pager-fallback"]


async def test_an_unreadable_alarm_is_a_page_for_its_clinic(world: World) -> None:
    await world.staff(nurse=["n1"])
    await world._handle(monitoring.VitalsAbnormal, b"\xff{", CLINIC, 1, None, "k")
    for _ in range(2):
        await watch(world).look_for_unreadable()
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
    assert "unreadable alarm" in world.pager.calls[0][2]["text"]


async def test_however_many_alarms_are_unreadable_each_is_a_page(world: World) -> None:
    await world.staff(nurse=["n1"])
    for number in range(60):
        await world._handle(monitoring.VitalsAbnormal, b"\xff{", CLINIC, 1, None, "k", offset=number)
    for _ in range(3):
        await watch(world).look_for_unreadable()
    await world.send()
    assert len(world.pager.calls) == 60


async def test_trouble_of_a_service_pages_the_operators(world: World) -> None:
    await world.staff(operator=["o1"])
    since = world.clock.clinical_now()
    await world.handle(intake.ServiceTroubleRaised(code="outbox_dead", since=since))
    await world.send()
    assert world.pager.addressees == ["pager-o1"]
