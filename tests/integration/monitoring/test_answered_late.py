"""What was done at the chair and is recorded later: when it happened stands beside it, and no clock of the paging moves."""

from datetime import datetime
from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.alarms import RENEW_AFTER
from services.monitoring.usecases import answering, correcting_entries, entries, limiting
from shared.events.envelope import Event, rfc3339
from shared.events.monitoring import AlarmAcknowledged, AlarmAttended, AlarmEscalated
from shared.events.registry import REGISTRY
from shared.persistence.mongo import Document, UnitOfWork
from tests.integration.monitoring.world import Chair, minutes

CRITICAL = "sbp_critical_high"
ANSWERS = ("acknowledged", "attended", "silenced", "escalated", "suppressed")
TOLD: dict[str, type[Any]] = {
    "acknowledged": AlarmAcknowledged,
    "attended": AlarmAttended,
    "escalated": AlarmEscalated,
}


async def raised(chair: Chair) -> Document:
    await chair.lasts(192, 6)
    return (await chair.alarms(rule=CRITICAL))[0]


async def answers(chair: Chair, verb: str, alarm: Document, at: datetime | None = None) -> Document:
    deps, moment, now = chair.deps, schemas.Moment(occurred_at=at), chair.clock.clinical_now()

    async def work(unit: UnitOfWork) -> Document:
        match verb:
            case "acknowledged":
                return await answering.accept(unit, deps, alarm["_id"], "nurse", now, body=moment)
            case "attended":
                return await answering.attend(unit, deps, alarm["_id"], "nurse", moment)
            case "silenced":
                return await answering.silence(unit, alarm["_id"], schemas.Mute(occurred_at=at))
            case "escalated":
                return await answering.escalate(unit, alarm["_id"], "nurse", moment)
        body = schemas.Suppression(minutes=3, reason_code="treated", occurred_at=at)
        return await answering.suppress(unit, deps, alarm["_id"], body)

    row: Document = await chair._run(work)
    return row


async def entry_of(chair: Chair, kind: str) -> Document:
    (row,) = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": kind})
    return row


async def event_of(chair: Chair, kind: type[Event]) -> Any:
    rows = await chair.mongo.plumbing("outbox").find({"lane": "alarm"})
    (value,) = [row["value"] for row in rows if REGISTRY[dict(row["headers"])["ce_type"].decode()] is kind]
    return kind.read(value)


@pytest.mark.parametrize("verb", ANSWERS)
async def test_an_answer_that_is_recorded_later_keeps_when_it_was_given(chair: Chair, verb: str) -> None:
    alarm, earlier = await raised(chair), chair.clock.clinical_now()
    chair.clock.advance(60)
    now = chair.clock.clinical_now()
    row = await answers(chair, verb, alarm, earlier)
    assert (row[f"{verb}_at"], row[f"{verb}_occurred_at"]) == (now, earlier)
    entry = await entry_of(chair, f"alarm_{verb}")
    assert (entry["occurred_at"], entry["recorded_at"]) == (earlier, now)
    if verb in TOLD:
        event = await event_of(chair, TOLD[verb])
        assert (event.at, event.occurred_at) == (now, earlier)


@pytest.mark.parametrize("verb", ANSWERS)
async def test_an_answer_by_a_clock_that_runs_ahead_is_one_of_now(chair: Chair, verb: str) -> None:
    alarm, now = await raised(chair), chair.clock.clinical_now()
    row = await answers(chair, verb, alarm, now + minutes(10))
    assert (row[f"{verb}_occurred_at"], (await entry_of(chair, f"alarm_{verb}"))["occurred_at"]) == (now, now)


async def test_how_long_an_answer_took_ends_when_it_was_given(chair: Chair) -> None:
    alarm = await raised(chair)
    chair.clock.advance(90)
    await answers(chair, "acknowledged", alarm, alarm["raised_at"] + minutes(0.5))
    row = await answers(chair, "attended", alarm, alarm["raised_at"] + minutes(1))
    assert (row["seconds_to_acknowledge"], row["seconds_to_attend"]) == (30, 60)


async def test_no_answer_took_less_than_no_time(chair: Chair) -> None:
    """Somebody was at the chair already."""
    alarm = await raised(chair)
    row = await answers(chair, "attended", alarm, alarm["raised_at"] - minutes(1))
    assert (row["seconds_to_acknowledge"], row["seconds_to_attend"]) == (0, 0)


async def test_an_alarm_is_renewed_three_minutes_after_its_acceptance_was_recorded(chair: Chair) -> None:
    alarm, earlier = await raised(chair), chair.clock.clinical_now()
    chair.clock.advance(120)
    await answers(chair, "acknowledged", alarm, earlier)
    await chair.ticks(RENEW_AFTER.total_seconds() - 1)
    assert "AlarmRenewed" not in await chair.told()
    await chair.ticks(2)
    assert "AlarmRenewed" in await chair.told()
    assert (await chair.alarms(rule=CRITICAL))[0]["acknowledged_occurred_at"] is None


async def test_limits_that_are_recorded_later_keep_when_they_were_decided(chair: Chair) -> None:
    earlier, version = chair.clock.clinical_now(), (await chair.session())["version"]
    chair.clock.advance(60)
    own = [schemas.OwnLimit(rule=CRITICAL, bound=200)]
    body = schemas.OwnLimits(limits=own, reason_code="known_hypertension", occurred_at=earlier)
    await chair._run(lambda unit: limiting.set_limits(unit, chair.deps, chair.session_id, body, version))
    assert (await entry_of(chair, "limits_changed"))["occurred_at"] == earlier


async def another(chair: Chair) -> Chair:
    return await Chair(chair.mongo, chair.clock).seat(dose=False)


async def moves(chair: Chair, entry: Document, to: Chair, at: datetime) -> Document:
    body = bodies.MoveEntry(to_session_id=to.session_id, reason_code="wrong_patient", occurred_at=at)
    row: Document = await chair._run(
        lambda unit: correcting_entries.move(unit, chair.deps, chair.session_id, entry["_id"], body)
    )
    return row


async def test_an_entry_is_moved_in_both_timelines_at_one_time_and_keeps_its_own(chair: Chair) -> None:
    second, third = await another(chair), await another(chair)
    body = bodies.Observation(observation_code="pain", score=2)
    noted = await chair._run(lambda unit: entries.add(unit, chair.deps, chair.session_id, "observation", body))
    for giver, taker in ((chair, second), (second, third)):
        chair.clock.advance(60)
        earlier = chair.clock.clinical_now()
        chair.clock.advance(60)
        here = await moves(giver, await entry_of(giver, "observation"), taker, earlier)
        assert (here["occurred_at"], here["facts"]["moved_at"]) == (noted["occurred_at"], rfc3339(earlier))
        assert here["facts"]["moved_from"] == giver.session_id
        assert (await entry_of(giver, "moved_away"))["occurred_at"] == earlier
