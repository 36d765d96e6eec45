"""What runs into a vein until somebody says that it ended: its end told too early, told late, or by nobody."""

from typing import Any

import pytest

from services.monitoring import schemas
from services.monitoring.board import Chair as Seat
from services.monitoring.board import show_due
from services.monitoring.usecases import discharging, dosing
from shared.errors import Conflict
from shared.events.monitoring import DosePaused, DoseStopped, PatientDischarged
from tests.integration.monitoring.test_discharge_findings import FIT
from tests.integration.monitoring.test_recovery import passes
from tests.integration.monitoring.world import Chair, minutes


async def changes(chair: Chair, verb: dosing.Verb, **said: Any) -> None:
    body = schemas.Infusion(**said)
    await chair._run(lambda unit: dosing.change_infusion(unit, chair.session_id, verb, body))


async def waits(chair: Chair) -> bool:
    """Whether the time before discharge is not over yet; of a patient of whom nothing else is written down."""
    with pytest.raises(Conflict) as refused:
        await chair._run(lambda unit: discharging.discharge(unit, chair.deps, chair.session_id, FIT))
    return "minimum_time" in {reason["code"] for reason in refused.value.reasons}


async def test_a_later_stop_counts(chair: Chair) -> None:
    """Stopped by mistake, the pump ran on; the second stop is the end."""
    for passed in (5, 35):
        chair.clock.advance(passed * 60)
        await changes(chair, "stop")
    chair.clock.advance(59 * 60)
    assert await waits(chair)
    chair.clock.advance(60)
    assert not await waits(chair)
    assert len(await chair.events(DoseStopped)) == 2


async def runs_on(chair: Chair) -> None:
    """No rate was told and nobody stops it: recovery begins by itself, and the pump goes on."""
    assert await passes(chair, 46) == "recovery"


@pytest.mark.parametrize("verb", ["rate", "resume"])
async def test_an_infusion_that_nobody_stopped_still_runs_in_recovery(chair: Chair, verb: dosing.Verb) -> None:
    await runs_on(chair)
    if verb == "resume":
        await changes(chair, "pause")
    await changes(chair, verb, rate_mg_per_h=10)
    row = await chair.session()
    assert (row["state"], row["infusion"]["state"], row["infusion"]["rate_mg_per_h"]) == ("dosing", "running", 10)


async def test_a_pause_in_recovery_of_a_running_infusion_is_told(chair: Chair) -> None:
    await runs_on(chair)
    await changes(chair, "pause")
    row = await chair.session()
    assert (row["state"], row["infusion"]["state"]) == ("recovery", "paused")
    assert len(await chair.events(DosePaused)) == 1


async def test_what_goes_on_in_recovery_without_a_rate_is_over_so_long_after_it_went_on(chair: Chair) -> None:
    await runs_on(chair)
    for verb in ("pause", "resume"):
        chair.clock.advance(60)
        await changes(chair, verb)
    assert await passes(chair, 44) == "dosing"
    assert await passes(chair, 2) == "recovery"


async def test_a_stop_in_recovery_of_a_running_infusion_is_not_out_of_order(chair: Chair) -> None:
    await runs_on(chair)
    await changes(chair, "stop")
    (entry,) = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id, "kind": "dose_stopped"})
    assert "out_of_order" not in entry["facts"]


async def test_leave_counts_minutes_as_discharge_does(chair: Chair) -> None:
    chair.clock.advance(40 * 60)
    await changes(chair, "stop")
    chair.clock.advance(10 * 60)
    await chair.leaves("against_advice")
    assert [event.minutes_from_last_dose for event in await chair.events(PatientDischarged)] == [10]


async def test_who_leaves_while_an_infusion_runs_has_waited_for_no_minute(chair: Chair) -> None:
    chair.clock.advance(40 * 60)
    await chair.leaves("against_advice")
    assert [event.minutes_from_last_dose for event in await chair.events(PatientDischarged)] == [0]


async def test_the_board_tells_of_discharge_from_the_end_of_the_infusion(chair: Chair) -> None:
    chair.clock.advance(40 * 60)
    assert await due_at_the_chair(chair) is None
    await changes(chair, "stop")
    due = await due_at_the_chair(chair)
    assert due == {"code": "discharge_from", "at": chair.clock.clinical_now() + minutes(60), "signs": ()}


async def due_at_the_chair(chair: Chair) -> Any:
    row = await chair.session()
    return show_due(Seat(row, "ADA"), chair.deps.protocol(row))
