"""A patient who left unseen is somebody's work."""

from typing import Any

import pytest

from shared.events.monitoring import PatientDischarged
from tests.integration.notifications.world import PATIENT, World


@pytest.mark.parametrize("disposition", ["left_unseen", "against_advice", "escort", "transferred", "died"])
async def test_only_who_left_unseen_is_looked_for_and_once(world: World, disposition: str) -> None:
    fields: dict[str, Any] = {"patient_id": PATIENT, "session_id": "s1", "at": world.clock.clinical_now()}
    fields |= {"minutes_from_last_dose": 30, "criteria": [], "escort_confirmed": False, "disposition": disposition}
    for _ in range(2):
        await world.handle(PatientDischarged(**fields))
    found = [(task["kind"], task["subject"]) for task in await world.rows("tasks")]
    assert found == ([("left_unseen", "session/s1")] if disposition == "left_unseen" else [])
