"""From the baseline to an open gate: by an assessment that finds nothing, or an override; and how it closes again."""

from typing import Any

import pytest

from services.monitoring import schemas_session as bodies
from services.monitoring.handlers import TIMER_HANDLERS
from services.monitoring.usecases import gating
from services.monitoring.usecases.gate_expiry import GATE
from shared.errors import Conflict
from shared.persistence.timers import TimerRunner
from tests.integration.monitoring.test_dose_gate import Visit
from tests.integration.monitoring.world import Chair


async def opens(chair: Chair, **body: Any) -> Any:
    asked = bodies.GateOpening(**({"prescriber_on_site": "doctor-1"} | body))
    return await chair._run(lambda unit: gating.open_gate(unit, chair.deps, chair.session_id, asked))


async def passes(chair: Chair, minutes: float) -> str:
    """The state after so long."""
    chair.clock.advance(minutes * 60)
    await chair.hears()
    await TimerRunner(chair.mongo, TIMER_HANDLERS, chair.deps, "monitoring").fire_due()
    state: str = (await chair.session())["state"]
    return state


async def kinds(chair: Chair) -> list[str]:
    rows = await chair.mongo.plumbing("entries").find({"session_id": chair.session_id}, sort=[("_id", 1)])
    return [row["kind"] for row in rows if row["kind"].startswith(("gate", "dose"))]


async def test_an_assessment_that_finds_nothing_opens_the_gate_and_the_dose_follows(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    assert (await opens(chair))["state"] == "gate_open"
    assert (await visit_.doses(prescriber_on_site=None))["state"] == "dosing"
    assert await kinds(chair) == ["gate_opened", "dose"]


async def test_an_assessment_that_finds_a_reason_names_it_and_opens_nothing(chair: Chair) -> None:
    await Visit(chair).arrives(systolic=150)
    with pytest.raises(Conflict) as refused:
        await opens(chair, prescriber_on_site=None)
    assert {reason["code"] for reason in refused.value.reasons} == {"blood_pressure", "no_prescriber_on_site"}
    assert ((await chair.session())["state"], await kinds(chair)) == ("baseline", [])


async def test_an_open_gate_closes_with_its_baseline_clinical_md_10(chair: Chair) -> None:
    await Visit(chair).arrives()
    assert await passes(chair, 5) == "baseline"
    await opens(chair)
    assert await passes(chair, 9.9) == "gate_open"
    assert await passes(chair, 0.1) == "baseline"
    assert await kinds(chair) == ["gate_opened", "gate_expired"]


async def overridden_late(chair: Chair) -> None:
    """Against a baseline that is over."""
    visit_ = await Visit(chair).arrives()
    chair.clock.advance(20 * 60)
    await chair.hears()
    await chair.measures(97, "59408-5")
    await visit_.overridden()


async def test_a_gate_that_was_overridden_closes_with_the_override_clinical_md_10(chair: Chair) -> None:
    await overridden_late(chair)
    assert await passes(chair, 14.9) == "gate_open"
    assert await passes(chair, 0.1) == "baseline"


async def test_an_assessment_makes_no_override_longer(chair: Chair) -> None:
    await overridden_late(chair)
    await passes(chair, 10)
    assert (await opens(chair))["state"] == "gate_open"
    assert await passes(chair, 5) == "baseline"


async def test_a_gate_that_was_opened_anew_closes_later(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await opens(chair)
    await passes(chair, 10)
    await visit_.measured()
    await opens(chair)
    assert await passes(chair, 10) == "gate_open"
    assert await passes(chair, 5) == "baseline"


async def test_a_dose_leaves_nothing_to_close(chair: Chair) -> None:
    visit_ = await Visit(chair).arrives()
    await opens(chair)
    await visit_.doses()
    assert await passes(chair, 16) == "dosing"
    assert await chair.mongo.plumbing("timers").find({"kind": GATE}) == []


async def test_an_abort_of_an_open_gate_ends_the_session(chair: Chair) -> None:
    await Visit(chair).arrives()
    await opens(chair)
    await chair.aborts()
    assert ((await chair.session())["watched"], await passes(chair, 16)) == (False, "aborted")
