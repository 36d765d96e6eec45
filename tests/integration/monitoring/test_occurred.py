"""When something happened, as a tablet says it: never later than now, and the same in the entry and in what it changes."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.usecases import correcting, correcting_entries, dosing, emergency, ending, entries, scoring
from shared.errors import Invalid
from shared.events.envelope import rfc3339
from shared.ids import new_id
from shared.persistence.mongo import Document, UnitOfWork
from tests.integration.monitoring.test_dose_gate import Visit
from tests.integration.monitoring.world import Chair, minutes

AHEAD = minutes(10)


async def notes(chair: Chair, code: str, **scored: Any) -> Document:
    body = bodies.Observation.model_validate({"observation_code": code, **scored})

    async def work(unit: UnitOfWork) -> Document:
        entry = await entries.add(unit, chair.deps, chair.session_id, "observation", body)
        await scoring.noted(unit, chair.deps, entry)
        return entry

    noted: Document = await chair._run(work)
    return noted


async def observes(chair: Chair, score: int, at: datetime | None = None) -> Document:
    return await notes(chair, "moaas", score=score, occurred_at=at)


async def entry_of(chair: Chair, kind: str) -> Document:
    """The newest."""
    rows = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": kind})
    return max(rows, key=lambda row: (row["recorded_at"], row["_id"]))


async def test_a_dose_by_a_clock_that_runs_ahead_is_one_of_now(chair: Chair) -> None:
    now = chair.clock.clinical_now()
    row = await chair.doses(occurred_at=now + AHEAD, amount_mg=1)
    assert row["doses"][-1]["at"] == (await entry_of(chair, "dose"))["occurred_at"] == now


async def refused(chair: Chair, work: Any) -> list[tuple[str, str]]:
    """Field and code of what is wrong; nothing has changed."""
    before = await chair.session()
    with pytest.raises(Invalid) as invalid:
        await work
    assert await chair.session() == before
    return [(error.pointer, error.code) for error in invalid.value.errors]


BEFORE_BASELINE = [("/occurred_at", "before_baseline")]


async def test_a_dose_is_told_as_given_no_earlier_than_its_baseline(chair: Chair) -> None:
    """Else the two hours of esketamine were over at once."""
    visit = await Visit(chair).arrives()
    told = chair.clock.clinical_now()
    chair.clock.advance(60)
    assert await refused(chair, visit.doses(occurred_at=told - minutes(121))) == BEFORE_BASELINE
    assert (await visit.doses(occurred_at=told))["doses"][0]["at"] == told


async def corrects(chair: Chair, at: datetime, **said: Any) -> None:
    dose, body = await entry_of(chair, "dose"), bodies.Correction(reason_code="typing_error", occurred_at=at, **said)
    await chair._run(lambda unit: correcting_entries.correct(unit, chair.deps, chair.session_id, dose["_id"], body))


async def test_a_dose_is_corrected_to_no_time_before_its_baseline(chair: Chair) -> None:
    baseline_at = (await chair.session())["baseline_at"]
    assert await refused(chair, corrects(chair, baseline_at - minutes(121))) == BEFORE_BASELINE
    await corrects(chair, baseline_at)
    assert (await chair.session())["doses"][0]["at"] == baseline_at
    await corrects(chair, baseline_at - minutes(121), entered_in_error=True)
    assert (await chair.session())["doses"] == []


async def test_a_moved_dose_that_was_given_before_the_baseline_here_is_corrected_where_it_stands(chair: Chair) -> None:
    given = (await chair.session())["doses"][0]["at"]
    later = {"$set": {"baseline_at": given + minutes(10)}}
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, later)
    await corrects(chair, given, dose=bodies.DoseCorrection(lot="M"))
    assert await refused(chair, corrects(chair, given - minutes(1))) == BEFORE_BASELINE
    assert (await chair.session())["doses"][0]["lot"] == "M"


async def moves(chair: Chair, to: Chair) -> Document:
    """The facts of its dose there."""
    dose = await entry_of(chair, "dose")
    body = bodies.MoveEntry(to_session_id=to.session_id, reason_code="wrong_patient")
    await chair._run(lambda unit: correcting_entries.move(unit, chair.deps, chair.session_id, dose["_id"], body))
    facts: Document = (await entry_of(to, "dose"))["facts"]
    return facts


async def test_a_dose_that_moves_to_where_the_baseline_came_later_says_so(chair: Chair) -> None:
    """It is what that patient has had: a refusal would leave it with another."""
    given = (await chair.session())["doses"][0]["at"]
    chair.clock.advance(1)
    second, third = Chair(chair.mongo, chair.clock), Chair(chair.mongo, chair.clock)
    for one in (second, third):
        await one.seat(dose=False)
    earlier = {"$set": {"baseline_at": given - minutes(1)}}
    await chair.mongo.plumbing("sessions").update({"_id": third.session_id}, earlier)
    assert (await moves(chair, second))["before_baseline"]
    assert (await second.session())["doses"][0]["at"] == given, "the time before discharge counts from there"
    assert "before_baseline" not in await moves(second, third)


async def test_a_moved_dose_that_is_corrected_to_after_the_baseline_is_none_of_before(chair: Chair) -> None:
    chair.clock.advance(1)
    second = await Chair(chair.mongo, chair.clock).seat(dose=False)
    await moves(chair, second)
    await corrects(second, chair.clock.clinical_now())
    assert "before_baseline" not in (await entry_of(second, "correction"))["facts"]["now"]


async def test_an_infusion_that_ends_by_a_clock_that_runs_ahead_ends_now(chair: Chair) -> None:
    await chair.doses(rate_mg_per_h=40, amount_mg=1)
    now = chair.clock.clinical_now()
    body = schemas.Infusion(occurred_at=now + AHEAD)
    row = await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, "stop", body))
    assert row["infusion"]["since"] == now


async def test_an_intervention_by_a_clock_that_runs_ahead_is_one_of_now(chair: Chair) -> None:
    now = chair.clock.clinical_now()
    body = bodies.Intervention(intervention_code="antihypertensive", occurred_at=now + AHEAD)
    await chair._run(lambda unit: entries.add(unit, chair.deps, chair.session_id, "intervention", body))
    assert (await entry_of(chair, "intervention"))["occurred_at"] == now


async def test_an_adverse_event_that_is_over_began_no_later_than_it_ended(chair: Chair) -> None:
    over = chair.clock.clinical_now() - minutes(30)
    told = {"event_code": "nausea", "severity": "mild", "serious": False, "resolved_at": rfc3339(over)}
    body = bodies.AdverseEvent.model_validate(told)
    await chair._run(lambda unit: entries.add(unit, chair.deps, chair.session_id, "adverse_event", body))
    assert (await entry_of(chair, "adverse_event"))["occurred_at"] == over


async def test_a_correction_moves_nothing_into_the_future(chair: Chair) -> None:
    entry, now = await observes(chair, 4), chair.clock.clinical_now()
    body = bodies.Correction(reason_code="typing_error", occurred_at=now + AHEAD)
    await chair._run(lambda unit: correcting_entries.correct(unit, chair.deps, chair.session_id, entry["_id"], body))
    assert (await chair.session())["scores"]["moaas"]["at"] == now


async def test_an_emergency_ends_now_by_a_clock_that_runs_ahead(chair: Chair) -> None:
    await chair._run(lambda unit: emergency.call(unit, chair.session_id, bodies.Emergency()))
    chair.clock.advance(60)
    body = schemas.Moment(occurred_at=chair.clock.clinical_now() + AHEAD)
    entry = await chair._run(lambda unit: emergency.end(unit, chair.session_id, body))
    assert entry["facts"]["code_seconds"] == 60


@pytest.mark.parametrize("decision", ["confirmed", "artefact"])
async def test_a_decision_on_a_reading_is_of_when_it_was_made(chair: Chair, decision: Any) -> None:
    (told,) = await chair.measures(0, "59408-5")
    earlier = chair.clock.clinical_now()
    chair.clock.advance(120)
    body = schemas.Decision(occurred_at=earlier)
    await chair._run(lambda unit: correcting.decide(unit, chair.deps, chair.session_id, told.id, decision, body))
    assert (await entry_of(chair, f"reading_{decision}"))["occurred_at"] == earlier


async def test_a_reading_is_moved_in_both_timelines_at_one_time(chair: Chair) -> None:
    second = Chair(chair.mongo, chair.clock)
    second.patient_id = new_id()
    await second.seat(dose=False)
    (told,) = await chair.measures(0, "59408-5")
    earlier = chair.clock.clinical_now()
    chair.clock.advance(120)
    body = schemas.ReadingMove(to_session_id=second.session_id, reason_code="wrong_patient", occurred_at=earlier)
    await chair._run(lambda unit: correcting.move(unit, chair.deps, chair.session_id, told.id, body))
    away, here = await entry_of(chair, "reading_moved_away"), await entry_of(second, "reading_moved_here")
    assert (away["occurred_at"], here["occurred_at"]) == (earlier, earlier)


async def aborted(chair: Chair, at: datetime) -> Document:
    body = schemas.Abort(reason_code="unwell", occurred_at=at)
    row: Document = await chair._run(lambda unit: ending.abort(unit, chair.session_id, body))
    return row


async def test_an_infusion_ends_when_its_session_was_aborted(chair: Chair) -> None:
    await chair.doses(rate_mg_per_h=40, amount_mg=1)
    chair.clock.advance(300)
    earlier = chair.clock.clinical_now() - minutes(3)
    assert (await aborted(chair, earlier))["infusion"]["since"] == earlier


@pytest.mark.parametrize(
    ("ahead", "ended"), [(-minutes(3), -minutes(3)), (AHEAD, minutes(0))], ids=["recorded late", "clock runs ahead"]
)
@pytest.mark.parametrize("way", ["abort", "void", "complete"])
async def test_a_session_without_a_dose_ends_when_it_ended(
    chair: Chair, way: str, ahead: timedelta, ended: timedelta
) -> None:
    await chair.seat(dose=False)
    chair.clock.advance(300)
    now = chair.clock.clinical_now()
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, {"$set": {"kind": "wellness"}})

    async def ends(unit: UnitOfWork) -> Document:
        body = schemas.Abort(reason_code="mistake", occurred_at=now + ahead)
        if way == "abort":
            return await ending.abort(unit, chair.session_id, body)
        if way == "void":
            return await ending.void(unit, chair.deps, chair.session_id, body)
        return await ending.complete(unit, chair.session_id, body.occurred_at)

    row = await chair._run(ends)
    kind = {"abort": "aborted", "void": "voided", "complete": "completed"}[way]
    assert (row["ended_at"], (await entry_of(chair, kind))["occurred_at"]) == (now + ended, now + ended)


async def test_a_score_by_a_clock_that_runs_ahead_silences_no_later_one(chair: Chair) -> None:
    """MOAA/S 5 noted as of ten minutes from now, then MOAA/S 1."""
    await observes(chair, 5, chair.clock.clinical_now() + AHEAD)
    chair.clock.advance(60)
    await observes(chair, 1)
    assert [alarm["rule"] for alarm in await chair.alarms(open=True)] == ["moaas_critical"]
