"""Whether an oximeter measures now: by when its readings arrive, for a backlog and a wrong clock tell of another time."""

from services.monitoring.store import heard_from_oximeters
from tests.integration.monitoring.test_dose_gate import Visit
from tests.integration.monitoring.world import Chair, minutes

SPO2 = "59408-5"
SILENT = {"no_oximeter": "absolute"}


async def passes(chair: Chair, visit: Visit, seconds: float) -> None:
    """So long nobody measures but the nurse, who takes the baseline again."""
    chair.clock.advance(seconds)
    await visit.measured()
    await chair.hears()


async def test_a_backlog_that_arrives_now_is_no_oximeter_that_measures_now(chair: Chair) -> None:
    visit = await Visit(chair).arrives()
    long_ago = chair.clock.clinical_now() + minutes(1)
    await passes(chair, visit, 30 * 60)
    assert await visit.refused() == SILENT
    await chair.measures(97, SPO2, at=long_ago)
    assert await visit.refused() == SILENT
    await chair.measures(97, SPO2)
    assert (await visit.doses())["state"] == "dosing"


async def test_a_monitor_whose_clock_is_a_day_ahead_hides_no_other_monitor(chair: Chair) -> None:
    visit = await Visit(chair).arrives()
    await chair.measures(97, SPO2, device="ahead", at=chair.clock.clinical_now() + minutes(24 * 60))
    await passes(chair, visit, 16 * 60)
    assert await visit.refused() == SILENT
    await chair.measures(97, SPO2, device="m2")
    assert (await visit.doses())["state"] == "dosing"


async def test_a_wrong_clock_alone_is_an_oximeter_too(chair: Chair) -> None:
    visit = await Visit(chair).arrives()
    await passes(chair, visit, 16 * 60)
    await chair.measures(97, SPO2, device="ahead", at=chair.clock.clinical_now() + minutes(24 * 60))
    assert (await visit.doses())["state"] == "dosing"


async def test_looking_for_an_oximeter_costs_what_arrived_lately_however_long_the_session_is(chair: Chair) -> None:
    for _ in range(3):
        now = chair.clock.clinical_now()
        await chair.sends(*(chair.reading(97, SPO2, at=now - minutes(n / 1000)) for n in range(300)))
        chair.clock.advance(1200)
    await chair.measures(97, SPO2, device="m2")
    asked = heard_from_oximeters(chair.session_id, chair.clock.clinical_now() - minutes(15))
    command = {"find": "vitals", "filter": {"clinic_id": "clinic-1", **asked}, "sort": {"received_at": -1}, "limit": 1}
    plan = await chair.mongo.database.command("explain", command, verbosity="executionStats")
    assert plan["executionStats"]["totalDocsExamined"] == 1
