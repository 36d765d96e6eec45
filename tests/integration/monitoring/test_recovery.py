"""Recovery begins by itself some time after the last dose; what is asked for and what pages changes with it."""

from datetime import datetime
from typing import Any

import orjson
import pytest

from services.monitoring import schemas
from services.monitoring import schemas_entries as bodies
from services.monitoring.usecases import answering, correcting_entries, dosing
from services.monitoring.usecases.due import SCHEDULE_TIMERS
from services.monitoring.usecases.recovering import begins_at
from shared.persistence.mongo import Document
from shared.persistence.timers import TimerRunner
from tests.integration.monitoring.test_occurred import observes
from tests.integration.monitoring.world import Chair, minutes

ESKETAMINE, INTO_MUSCLE, INTO_VEIN = "esketamine-2026-11", "im-2026-11", "iv-2026-11"


@pytest.fixture
async def chair(chair: Chair) -> Chair:
    """Dosed at once, by an injection that nobody stops."""
    await pinned(chair, INTO_MUSCLE)
    return chair


async def passes(chair: Chair, how_long: float) -> str:
    """The state after so long; the evaluator looks before and after."""
    await chair.ticks()
    chair.clock.advance(how_long * 60)
    await TimerRunner(chair.mongo, SCHEDULE_TIMERS, chair.deps, "monitoring").fire_due()
    await chair.ticks()
    state: str = (await chair.session())["state"]
    return state


async def pinned(chair: Chair, version: str) -> None:
    change = {"$set": {"protocol_version": version, "infusion": None}}
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, change)


async def missed(chair: Chair) -> list[Document]:
    return await chair.alarms(rule="missed:pressure_40", open=True)


async def test_after_a_dose_that_nobody_stops_recovery_begins_with_an_entry(chair: Chair) -> None:
    assert await passes(chair, 59) == "dosing"
    assert await passes(chair, 1) == "recovery"
    rows = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": "recovery_began"})
    assert [row["occurred_at"] for row in rows] == [chair.clock.clinical_now()]


async def told_states(chair: Chair) -> list[tuple[str, str]]:
    """State and version of what the outbox says of the session as a whole."""
    rows = await chair.mongo.plumbing("outbox").find({"key": chair.patient_id.encode()})
    named = [(dict(row["headers"]), row["value"]) for row in rows]
    states = [(head, orjson.loads(value)) for head, value in named if b".SessionState." in head["ce_type"]]
    return [(body["state"], head["ce_sequence"].decode()[:10]) for head, body in states]


@pytest.mark.parametrize("way", ["by itself", "stop", "abort"])
async def test_recovery_is_told_in_one_way_however_it_begins(chair: Chair, way: str) -> None:
    begins = {"by itself": lambda: passes(chair, 60), "stop": lambda: stops(chair), "abort": chair.aborts}
    await begins[way]()
    session = await chair.session()
    assert session["state"] == "recovery"
    await stops(chair)
    assert await told_states(chair) == [("recovery", f"{session['version']:010d}")]


async def test_expected_sedation_pages_nobody_while_dosing_and_does_in_recovery_clinical_md_10(chair: Chair) -> None:
    await observes(chair, 3)
    assert await chair.told() == []
    await passes(chair, 90)
    await observes(chair, 3)
    assert [alarm["rule"] for alarm in await chair.alarms(open=True, category="physiological")] == ["moaas_warning"]


async def test_sedation_that_was_expected_while_dosing_is_paged_when_dosing_is_over(chair: Chair) -> None:
    await observes(chair, 3)
    await passes(chair, 61)
    await chair.ticks(1)
    open_alarms = await chair.alarms(open=True, category="physiological")
    assert [(alarm["rule"], alarm["value"]) for alarm in open_alarms] == [("moaas_warning", 3)]
    for _ in range(3):
        await chair.ticks(1)
    assert len(await chair.alarms(rule="moaas_warning")) == 1


async def test_what_recovery_measures_is_due_then(chair: Chair) -> None:
    await passes(chair, 61)
    assert set((await chair.session())["due"]) == {"pressure_recovery", "sedation_recovery"}


async def test_a_later_dose_puts_recovery_off(chair: Chair) -> None:
    await passes(chair, 30)
    await chair.doses(amount_mg=1)
    assert await passes(chair, 59) == "dosing"
    assert await passes(chair, 1) == "recovery"


async def test_a_dose_that_was_corrected_to_a_later_time_puts_recovery_off(chair: Chair) -> None:
    await passes(chair, 10)
    dose = (await chair.session())["doses"][0]
    change = {"$set": {"doses": [dose | {"at": chair.clock.clinical_now()}]}}
    await chair.mongo.plumbing("sessions").update({"_id": chair.session_id}, change)
    assert await passes(chair, 55) == "dosing"
    assert await passes(chair, 5) == "recovery"


async def test_a_dose_in_recovery_is_one_more(chair: Chair) -> None:
    assert await passes(chair, 61) == "recovery"
    await chair.doses(amount_mg=1)
    assert await passes(chair, 1) == "dosing"


async def test_while_an_infusion_has_not_ended_nobody_recovers(chair: Chair) -> None:
    await chair.doses(rate_mg_per_h=40, amount_mg=1)
    assert await passes(chair, 240) == "dosing"


async def pushed(chair: Chair) -> None:
    """Into a vein, at no rate that anybody told."""
    await pinned(chair, INTO_VEIN)
    await chair.doses(amount_mg=1)
    assert (await chair.session())["infusion"]["state"] == "running"


async def test_after_a_push_whose_end_nobody_told_sedation_is_paged(chair: Chair) -> None:
    await pushed(chair)
    assert await passes(chair, 44) == "dosing"
    assert await passes(chair, 1) == "recovery"
    await observes(chair, 3)
    assert [alarm["rule"] for alarm in await chair.alarms(open=True, category="physiological")] == ["moaas_warning"]


async def test_what_was_paused_is_over_so_long_after_it_went_on(chair: Chair) -> None:
    await pushed(chair)
    await changes(chair, "pause")
    assert await passes(chair, 60) == "dosing"
    await changes(chair, "resume")
    assert await passes(chair, 44) == "dosing"
    assert await passes(chair, 1) == "recovery"


async def test_a_push_that_proves_to_be_an_infusion_at_a_rate_is_waited_for(chair: Chair) -> None:
    await pushed(chair)
    await changes(chair, "rate", rate_mg_per_h=40)
    assert await passes(chair, 240) == "dosing"


async def changes(chair: Chair, verb: Any, **said: float) -> None:
    body = schemas.Infusion(**said)
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, verb, body))


async def stops(chair: Chair) -> None:
    await changes(chair, "stop")


@pytest.mark.parametrize("seen", [True, False], ids=["seen while dosing", "not seen while dosing"])
async def test_the_pressure_at_40_minutes_is_asked_for_in_recovery_too(chair: Chair, *, seen: bool) -> None:
    await pinned(chair, ESKETAMINE)
    if seen:
        await passes(chair, 10)
    await stops(chair)
    await passes(chair, 30)
    assert "pressure_40" in (await chair.session())["due"]
    await passes(chair, 20)
    assert len(await missed(chair)) == 1


async def test_a_pressure_that_was_missed_while_dosing_is_asked_for_until_it_is_measured(chair: Chair) -> None:
    await pinned(chair, ESKETAMINE)
    await passes(chair, 46)
    assert ((await chair.session())["state"], len(await missed(chair))) == ("recovery", 1)
    await passes(chair, 1)
    assert len(await missed(chair)) == 1
    await chair.measures(121, device="manual")
    await chair.measures(81, "8462-4", device="manual")
    await passes(chair, 1)
    assert await missed(chair) == []


async def test_where_help_was_called_for_it_the_measurement_alone_does_not_end_it(chair: Chair) -> None:
    await pinned(chair, ESKETAMINE)
    await passes(chair, 46)
    (alarm,) = await missed(chair)
    await chair._run(lambda unit: answering.escalate(unit, alarm["_id"], "nurse"))
    await chair.measures(121, device="manual")
    await chair.measures(81, "8462-4", device="manual")
    await passes(chair, 1)
    assert [row["_id"] for row in await missed(chair)] == [alarm["_id"]]
    await chair.acknowledges(alarm["_id"])
    await passes(chair, 1)
    assert await missed(chair) == []


@pytest.mark.parametrize("infusion", [None, {"state": "stopped"}, {"state": "paused"}])
async def test_only_an_infusion_that_goes_on_is_waited_for(chair: Chair, infusion: Document | None) -> None:
    waits = begins_at(chair.deps, {**await chair.session(), "infusion": infusion}) is None
    assert waits == (infusion == {"state": "paused"})


# A dose whose time was told wrongly


async def corrects(chair: Chair, at: datetime, **said: Any) -> None:
    (entry,) = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": "dose"})
    body = bodies.Correction(reason_code="typing_error", occurred_at=at, **said)
    await chair._run(lambda unit: correcting_entries.correct(unit, chair.deps, chair.session_id, entry["_id"], body))


async def dosed_half_an_hour_later_by_what_was_told(chair: Chair, version: str) -> None:
    """Until now, 31 minutes after the dose: it is corrected to when it was given."""
    await pinned(chair, version)
    given = (await chair.session())["doses"][0]["at"]
    chair.clock.advance(30 * 60)
    await corrects(chair, chair.clock.clinical_now())
    await passes(chair, 1)
    await corrects(chair, given)


async def test_recovery_begins_by_the_corrected_dose(chair: Chair) -> None:
    await dosed_half_an_hour_later_by_what_was_told(chair, INTO_MUSCLE)
    assert await passes(chair, 28) == "dosing"
    assert await passes(chair, 1) == "recovery"


async def test_the_pressure_at_40_minutes_is_missed_by_the_corrected_dose(chair: Chair) -> None:
    await dosed_half_an_hour_later_by_what_was_told(chair, ESKETAMINE)
    await passes(chair, 13)
    assert await missed(chair) == []
    await passes(chair, 1)
    assert len(await missed(chair)) == 1


async def test_a_dose_corrected_by_half_an_hour_raises_no_missed_pressure_before_its_time(chair: Chair) -> None:
    await pinned(chair, ESKETAMINE)
    await passes(chair, 30)
    await corrects(chair, chair.clock.clinical_now())
    await passes(chair, 44)
    assert await missed(chair) == []
    await passes(chair, 1)
    assert len(await missed(chair)) == 1


async def test_the_pressure_at_40_minutes_follows_a_corrected_dose(chair: Chair) -> None:
    await pinned(chair, ESKETAMINE)
    await passes(chair, 1)
    await corrects(chair, chair.clock.clinical_now())
    await chair.ticks()
    row = await chair.session()
    assert row["due"]["pressure_40"] == row["doses"][0]["at"] + minutes(40)


async def test_a_timer_of_a_wrong_dose_that_fires_before_anybody_looked_waits_for_the_right_one(chair: Chair) -> None:
    await pinned(chair, ESKETAMINE)
    await chair.ticks()
    chair.clock.advance(45 * 60)
    await corrects(chair, chair.clock.clinical_now() - minutes(1))
    await TimerRunner(chair.mongo, SCHEDULE_TIMERS, chair.deps, "monitoring").fire_due()
    assert await missed(chair) == []
    await passes(chair, 44)
    assert len(await missed(chair)) == 1


async def test_a_dose_taken_away_and_given_again_before_anybody_looked_is_timed_anew(chair: Chair) -> None:
    await pinned(chair, ESKETAMINE)
    await passes(chair, 10)
    await corrects(chair, chair.clock.clinical_now(), entered_in_error=True)
    await pinned(chair, INTO_MUSCLE)  # for nothing opens the gate of esketamine here
    await chair.doses()
    await pinned(chair, ESKETAMINE)
    await chair.ticks()
    row = await chair.session()
    assert row["due"]["pressure_40"] == row["doses"][0]["at"] + minutes(40)


async def test_a_corrected_dose_leaves_what_counts_from_the_phase_as_it_was(chair: Chair) -> None:
    await passes(chair, 3)
    before = await chair.session()
    await corrects(chair, chair.clock.clinical_now())
    await passes(chair, 1)
    after = await chair.session()
    assert before["due"].keys() == after["due"].keys() != set()
    assert [after[name] for name in ("due", "phase_since")] == [before[name] for name in ("due", "phase_since")]
