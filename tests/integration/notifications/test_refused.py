"""An alarm whose content the broker refused: its page reaches whoever answers for the patient, or everybody."""

import pytest

from shared.events.monitoring import AlarmContentRefused, VitalsAbnormal
from shared.messaging.outcomes import Done, Skip
from tests.integration.notifications.world import PATIENT, World

UNKNOWN = "place unknown, look at the board"
ROTA = {"nurse": ["n1", "n2"], "prescriber": ["p1"]}


def refused(alarm_id: str, session_id: str | None) -> AlarmContentRefused:
    return AlarmContentRefused(
        patient_id=PATIENT,
        refused_type=VitalsAbnormal.event_type(),
        aggregate=f"alarm/{alarm_id}",
        session_id=session_id,
    )


@pytest.mark.parametrize(
    ("session_id", "first", "place"),
    [
        ("s1", ["pager-n2"], "Room 2, chair B"),
        ("not-known-here", ["pager-n1", "pager-n2"], UNKNOWN),
        (None, ["pager-n1", "pager-n2"], UNKNOWN),
    ],
)
async def test_of_a_refused_alarm_the_responsible_nurse_is_paged_and_where_nobody_knows_her_all_are(
    world: World, session_id: str | None, first: list[str], place: str
) -> None:
    await world.staff(**ROTA)
    await world.checks_in("n2")
    assert await world.handle(refused("a1", session_id)) == Done()
    await world.send()
    assert sorted(world.pager.addressees) == first
    texts = {payload["text"] for _, _, payload in world.pager.calls}
    assert texts == {f"HIGH alarm: {place}: content refused, look at the board"}
    assert PATIENT not in str(world.pager.calls)
    await world.pass_time(60)
    assert "pager-p1" in world.pager.addressees, "nobody answers: the steps of any alarm"


async def test_a_refused_event_of_an_alarm_that_pages_already_pages_nobody_more(world: World) -> None:
    await world.staff(**ROTA)
    alarm = world.alarm()
    await world.handle(alarm)
    assert await world.handle(refused(alarm.alarm_id, None)) == Skip("escalation_known")
    await world.send()
    assert world.pager.addressees == ["pager-n1"]
