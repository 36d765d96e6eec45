"""A finding of suicide risk: work for staff always, a page when it is high or cannot be read."""

from datetime import timedelta

import pytest

from shared.events.intake import AlarmContentRefused, SuicideRiskFlagged
from shared.messaging.outcomes import Done
from tests.integration.notifications.world import PATIENT, World

ROTA = {"nurse": ["n1"], "prescriber": ["p1"]}


def flagged(world: World, level: str, age_s: float = 0) -> SuicideRiskFlagged:
    at = world.clock.clinical_now() - timedelta(seconds=age_s)
    return SuicideRiskFlagged.model_validate(
        {"patient_id": PATIENT, "flagged": True, "instrument": "cssrs", "level": level, "at": at}
    )


@pytest.mark.parametrize("level", ["unassessed", "low", "moderate", "high"])
async def test_only_a_high_risk_pages_and_each_is_work(world: World, level: str) -> None:
    await world.staff(**ROTA)
    assert await world.handle(flagged(world, level)) == Done()
    await world.send()
    assert sorted(world.pager.addressees) == (["pager-n1", "pager-p1"] if level == "high" else [])
    tasks = [(task["kind"], task["subject"], task["code"]) for task in await world.rows("tasks")]
    assert tasks == [("suicide_risk", f"patient/{PATIENT}", level)]
    assert PATIENT not in str(world.pager.calls)


async def test_a_finding_told_twice_pages_once_and_a_new_one_again(world: World) -> None:
    await world.staff(prescriber=["p1"], nurse=["p1"])
    first = flagged(world, "high")
    for _ in range(2):
        await world.handle(first)
    await world.send()
    assert world.pager.addressees == ["pager-p1"]
    world.clock.advance(60)
    await world.handle(flagged(world, "high"))
    await world.send()
    assert world.pager.addressees == ["pager-p1"] * 2


async def test_a_late_page_says_so(world: World) -> None:
    await world.handle(flagged(world, "high", age_s=1200))
    await world.send()
    _, to, payload = world.pager.calls[0]
    assert to == "pager-fallback"
    assert payload["text"] == "HIGH suicide risk (LATE: raised 20 min ago): work list: see this patient now"


async def test_a_finding_that_the_broker_refused_is_read_as_the_worst(world: World) -> None:
    refused = AlarmContentRefused(
        patient_id=PATIENT, refused_type=SuicideRiskFlagged.event_type(), aggregate=f"risk/{PATIENT}"
    )
    assert await world.handle(refused) == Done()
    await world.send()
    assert world.pager.addressees == ["pager-fallback"]
    assert [(task["subject"], task["code"]) for task in await world.rows("tasks")] == [
        (f"patient/{PATIENT}", "content_refused")
    ]
    assert PATIENT not in str(world.pager.calls)
