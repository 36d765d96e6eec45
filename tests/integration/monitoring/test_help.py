"""Help is asked for: whoever had accepted the alarm is asked anew, here and where the paging is done."""

from collections.abc import Awaitable, Callable

import pytest

from services.monitoring import schemas
from services.monitoring.alarms import RENEW_AFTER
from services.monitoring.usecases import answering, sessions
from shared.events.notifications import EscalationAcknowledged
from shared.ids import new_id
from shared.messaging.outcomes import Done, Outcome, Skip
from shared.persistence.mongo import Document
from tests.integration.monitoring.test_readings import decides
from tests.integration.monitoring.world import Chair, minutes

Act = Callable[[Chair, Document], Awaitable[None]]
CRITICAL = "sbp_critical_high"
SPO2 = "59408-5"
ANSWER = ("acknowledged_at", "acknowledged_by", "seconds_to_acknowledge", "attended_at", "attended_by")


async def alarm_of(chair: Chair) -> Document:
    (alarm,) = await chair.alarms(rule=CRITICAL)
    return alarm


async def attended(chair: Chair) -> Document:
    await chair.lasts(192, 6)
    alarm = await alarm_of(chair)
    await chair._run(lambda unit: answering.attend(unit, chair.deps, alarm["_id"], "nurse"))
    return alarm


async def calls_for_help(chair: Chair, alarm: Document) -> Document:
    row: Document = await chair._run(lambda unit: answering.escalate(unit, alarm["_id"], "nurse"))
    return row


async def presses_the_link(chair: Chair, alarm: Document, ago: float) -> Outcome | None:
    """In a page, before now; it is heard of here now."""
    at = chair.clock.clinical_now() - minutes(ago)
    about = {"escalation_id": new_id(), "alarm_id": alarm["_id"], "patient_id": chair.patient_id}
    return await chair.tells(EscalationAcknowledged(**about, by="n2", by_role="nurse", at=at, channel="link"))


async def test_an_accepted_alarm_waits_for_an_answer_again(chair: Chair) -> None:
    alarm = await attended(chair)
    chair.clock.advance(10)
    row = await calls_for_help(chair, alarm)
    assert [row[name] for name in ANSWER] == [None] * len(ANSWER)
    (entry,) = await chair.mongo.plumbing("entries").find({"kind": "alarm_escalated"})
    assert entry["facts"]["acceptance_taken_back"]


async def test_its_paging_is_stopped_by_an_acknowledgement_again(chair: Chair) -> None:
    alarm = await attended(chair)
    await calls_for_help(chair, alarm)
    chair.clock.advance(10)
    await chair.acknowledges(alarm["_id"])
    assert (await chair.told())[-2:] == ["AlarmEscalated", "AlarmAcknowledged"]
    assert (await alarm_of(chair))["seconds_to_acknowledge"] == 10


async def test_it_neither_clears_nor_is_renewed_before_that(chair: Chair) -> None:
    """Of high priority it is latched until somebody has answered (pitfalls.md 2.4)."""
    alarm = await attended(chair)
    await calls_for_help(chair, alarm)
    await chair.lasts(192, int(RENEW_AFTER.total_seconds()) + 1)
    await chair.lasts(120, 120)
    assert not {"AlarmRenewed", "AlarmCleared"} & set(await chair.told())
    await chair.acknowledges(alarm["_id"])
    assert not (await alarm_of(chair))["open"]


@pytest.mark.parametrize("first", [True, False], ids=["accepted before", "accepted by nobody"])
async def test_an_acceptance_in_a_page_from_before_is_no_answer_to_it(chair: Chair, first: bool) -> None:
    await chair.lasts(192, 6)
    alarm = await alarm_of(chair)
    if first:
        await chair.acknowledges(alarm["_id"])
    await calls_for_help(chair, alarm)
    chair.clock.advance(60)
    assert await presses_the_link(chair, alarm, ago=2) == Skip("asked_again")
    assert (await alarm_of(chair)).get("acknowledged_at") is None
    assert await presses_the_link(chair, alarm, ago=0.5) == Done()
    assert (await alarm_of(chair))["acknowledged_by"] == "n2"


async def test_help_asked_for_twice_without_anything_between_is_told_once(chair: Chair) -> None:
    await chair.lasts(192, 6)
    alarm = await alarm_of(chair)
    first = await calls_for_help(chair, alarm)
    chair.clock.advance(10)
    assert await calls_for_help(chair, alarm) == first
    assert (await chair.told()).count("AlarmEscalated") == 1


async def accepts(chair: Chair, alarm: Document) -> None:
    await chair.acknowledges(alarm["_id"])


async def accepts_until_it_is_renewed(chair: Chair, alarm: Document) -> None:
    await accepts(chair, alarm)
    await chair.lasts(192, int(RENEW_AFTER.total_seconds()) + 1)
    assert "AlarmRenewed" in await chair.told()


async def mutes(chair: Chair, alarm: Document) -> None:
    await chair._run(lambda unit: answering.silence(unit, alarm["_id"], schemas.Mute()))


@pytest.mark.parametrize("between", [accepts, accepts_until_it_is_renewed, mutes], ids=lambda act: act.__name__)
async def test_help_asked_for_again_after_something_came_between_is_told_anew(chair: Chair, between: Act) -> None:
    alarm = await attended(chair)
    await calls_for_help(chair, alarm)
    chair.clock.advance(10)
    await between(chair, alarm)
    chair.clock.advance(10)
    row = await calls_for_help(chair, alarm)
    assert (row["escalated_at"], row["acknowledged_at"]) == (chair.clock.clinical_now(), None)
    told = await chair.told()
    assert (told[-1], told.count("AlarmEscalated")) == ("AlarmEscalated", 2)


async def test_it_ends_the_mute_of_the_board(chair: Chair) -> None:
    await chair.lasts(192, 6)
    alarm = await alarm_of(chair)
    await mutes(chair, alarm)
    chair.clock.advance(10)
    assert (await calls_for_help(chair, alarm))["silenced_until"] is None


async def test_what_is_over_keeps_who_answered_it(chair: Chair) -> None:
    alarm = await attended(chair)
    await chair.lasts(120, 120)
    for _ in range(2):
        row = await calls_for_help(chair, alarm)
        assert (row["open"], row["attended_by"]) == (False, "nurse-1")
    assert (await chair.told()).count("AlarmEscalated") == 1


async def helped(chair: Chair, rule: str) -> Document:
    (alarm,) = await chair.alarms(rule=rule, open=True)
    return await calls_for_help(chair, alarm)


async def test_an_alarm_of_medium_priority_waits_for_an_answer_too(chair: Chair) -> None:
    """It is of high priority from then on: one good value ends it for nobody (pitfalls.md 2.4)."""
    for _ in range(17):
        await chair.measures(92, SPO2)
        chair.clock.advance(1)
    alarm = await helped(chair, "spo2_warning_low")
    for _ in range(60):
        await chair.measures(97, SPO2)
        await chair.ticks(1)
    assert "AlarmCleared" not in await chair.told()
    await chair.acknowledges(alarm["_id"])
    assert (await chair.told())[-1] == "AlarmCleared"


async def test_a_decision_about_a_good_value_does_not_end_it_before_that(chair: Chair) -> None:
    for _ in range(17):
        await chair.measures(92, SPO2)
        chair.clock.advance(1)
    alarm = await helped(chair, "spo2_warning_low")
    (good,) = await chair.measures(97, SPO2)
    await chair.ticks(30)
    await decides(chair, good.id, "confirmed")
    assert [row["_id"] for row in await chair.alarms(open=True, rule="spo2_warning_low")] == [alarm["_id"]]
    await chair.acknowledges(alarm["_id"])
    assert (await chair.told())[-1] == "AlarmCleared"


async def falls_silent(chair: Chair) -> None:
    await chair.measures(120)
    await chair.ticks(11)


async def is_not_believed(chair: Chair) -> None:
    await chair.measures(999)
    chair.clock.advance(1)


@pytest.mark.parametrize(
    ("arises", "rule", "end"),
    [(falls_silent, "signal:m1", "SignalRestored"), (is_not_believed, "implausible:8480-6", "AlarmCleared")],
    ids=["silence", "a value that is not believed"],
)
async def test_an_alarm_about_the_measuring_waits_for_an_answer_too(
    chair: Chair, arises: Callable[[Chair], Awaitable[None]], rule: str, end: str
) -> None:
    await arises(chair)
    alarm = await helped(chair, rule)
    for _ in range(3):
        await chair.measures(120)
        await chair.ticks(1)
    assert end not in await chair.told()
    await chair.acknowledges(alarm["_id"])
    await chair.measures(120)
    assert (await chair.told())[-1] == end


async def test_a_device_that_another_replaced_stays_an_alarm_until_then(chair: Chair) -> None:
    await assigned(chair, "m1")
    await falls_silent(chair)
    alarm = await helped(chair, "signal:m1")
    await assigned(chair, "m2")
    for answered in (False, True):
        if answered:
            await chair.acknowledges(alarm["_id"])
        await chair.measures(120, device="m2")
        await chair.ticks(1)
        assert ("SignalRestored" in await chair.told()) is answered


async def test_the_end_of_the_session_ends_it_without_an_answer(chair: Chair) -> None:
    await falls_silent(chair)
    await helped(chair, "signal:m1")
    await chair.leaves()
    assert (await chair.told())[-1] == "SignalRestored"


async def assigned(chair: Chair, device: str) -> None:
    body = schemas.Assignment(monitor=device)
    await chair._run(lambda unit: sessions.reassign(unit, chair.session_id, body))
