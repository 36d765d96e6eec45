"""What ends with a session, on the real store: alarms, silence watch and engine, in every way out and in no other."""

import pytest

from services.monitoring import schemas
from services.monitoring.usecases import ending
from shared.events.envelope import rfc3339
from shared.events.monitoring import SessionCompleted
from tests.integration.monitoring.world import Chair, minutes


async def watched(chair: Chair) -> tuple[bool, int, int]:
    """Whether the session is watched, its open alarms, the rules and devices that its engine keeps."""
    (session,) = await chair.mongo.plumbing("sessions").find({"_id": chair.session_id})
    engines = await chair.mongo.plumbing("engines").find({"_id": chair.session_id})
    kept = [*engines[0]["tracks"], *engines[0]["signals"]] if engines else []
    return session["watched"], len(await chair.alarms(open=True)), len(kept)


@pytest.mark.parametrize("disposition", ["against_advice", "left_unseen", "transferred", "died"])
async def test_every_disposition_ends_every_watch(chair: Chair, disposition: str) -> None:
    await chair.lasts(192, 6)
    await chair.ticks(11)
    assert {row["rule"] for row in await chair.alarms(open=True)} >= {"sbp_critical_high", "signal:m1"}
    await chair.leaves(disposition)
    assert await watched(chair) == (False, 0, 0)
    told = await chair.told()
    await chair.ticks(60)
    assert await chair.told() == told
    assert {"AlarmCleared", "SignalRestored"} <= set(told)


async def test_before_a_dose_abort_ends_the_watch_and_so_does_void(chair: Chair) -> None:
    body = schemas.Abort(reason_code="unwell")
    for ends in (
        lambda unit: ending.abort(unit, chair.session_id, body),
        lambda unit: ending.void(unit, chair.deps, chair.session_id, body),
    ):
        await chair.seat(dose=False)
        await chair.lasts(192, 6)
        assert (await watched(chair))[0] is True
        await chair._run(ends)
        assert await watched(chair) == (False, 0, 0)


async def test_a_time_of_leaving_that_has_not_come_is_now(chair: Chair) -> None:
    later = "2027-01-01T00:00:00Z"
    await chair.leaves("left_unseen", occurred_at=later)
    (session,) = await chair.mongo.plumbing("sessions").find({"_id": chair.session_id})
    assert session["ended_at"] == chair.clock.clinical_now()


async def completed(chair: Chair, disposition: str) -> SessionCompleted:
    """What the others hear of the session after this way out."""
    await chair.leaves(disposition)
    await chair._run(lambda unit: ending.complete(unit, chair.session_id))
    event: SessionCompleted
    (event,) = await chair.events(SessionCompleted)
    return event


@pytest.mark.parametrize("disposition", ["against_advice", "left_unseen", "transferred"])
async def test_undosed_who_left_is_no_completed_dosing_session(chair: Chair, disposition: str) -> None:
    await chair.seat(dose=False)
    event = await completed(chair, disposition)
    assert (event.outcome_code, event.dose_total_mg, event.disposition) == ("aborted", 0, disposition)


async def test_who_left_after_a_dose_completed_the_session(chair: Chair) -> None:
    event = await completed(chair, "against_advice")
    assert (event.outcome_code, event.disposition) == ("completed", "against_advice")


async def test_a_death_before_any_dose_is_no_completed_session(chair: Chair) -> None:
    await chair.seat(dose=False)
    event = await completed(chair, "died")
    assert (event.outcome_code, event.disposition) == ("aborted", "died")


async def test_a_death_after_a_dose_is_no_completed_session(chair: Chair) -> None:
    event = await completed(chair, "died")
    assert (event.outcome_code, event.dose_total_mg, event.disposition) == ("aborted", 35, "died")


@pytest.mark.parametrize("way", ["leave", "abort", "void"])
async def test_nobody_is_gone_before_what_was_done_here_last(chair: Chair, way: str) -> None:
    await chair.seat(dose=False)
    baseline_at = (await chair.session())["baseline_at"]
    a_month_ago = chair.clock.clinical_now() - minutes(30 * 24 * 60)
    body = schemas.Abort(reason_code="unwell", occurred_at=a_month_ago)
    if way == "leave":
        await chair.leaves("left_unseen", occurred_at=rfc3339(a_month_ago))
    elif way == "abort":
        await chair._run(lambda unit: ending.abort(unit, chair.session_id, body))
    else:
        await chair._run(lambda unit: ending.void(unit, chair.deps, chair.session_id, body))
    kind = {"leave": "left", "abort": "aborted", "void": "voided"}[way]
    (entry,) = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": kind})
    assert ((await chair.session())["ended_at"], entry["occurred_at"]) == (baseline_at, baseline_at)


async def test_nobody_is_gone_before_the_last_dose(chair: Chair) -> None:
    (dose,) = (await chair.session())["doses"]
    await chair.leaves("left_unseen", occurred_at=rfc3339(dose["at"] - minutes(1)))
    assert (await chair.session())["ended_at"] == dose["at"]
