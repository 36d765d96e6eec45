"""Notes of entries that are moved, where the key of one of the patients is gone."""

from typing import Any

import pytest

from services.monitoring import schemas_entries as bodies
from services.monitoring.usecases import correcting_entries, entries
from shared.events import intake
from shared.ids import new_id
from shared.persistence.mongo import Document
from tests.integration.monitoring.world import Chair


async def shown(chair: Chair, session_id: str, entry: Document) -> Document:
    """As the timeline shows its note."""
    item: Document = {"id": entry["_id"], "kind": entry["kind"]}
    row = await chair.mongo.plumbing("sessions").find_one({"_id": session_id})
    assert row is not None
    await chair._run(lambda unit: entries.open_notes(unit, chair.deps, row, [item]))
    return item


@pytest.mark.parametrize(("erased", "note"), [(False, "left knee"), (True, None)], ids=["known", "erased"])
async def test_an_entry_of_an_erased_patient_moves_without_its_note(
    chair: Chair, *, erased: bool, note: str | None
) -> None:
    wrong, patient = chair.session_id, chair.patient_id
    body = bodies.Support(support_code="music", note="left knee")
    made: Any = await chair._run(lambda unit: entries.add(unit, chair.deps, wrong, "support", body))
    chair.patient_id = new_id()
    await chair.seat(dose=False)
    if erased:
        await chair.tells(intake.PatientErased(patient_id=patient))
    to = bodies.MoveEntry(to_session_id=chair.session_id, reason_code="wrong_patient")
    moved = await chair._run(lambda unit: correcting_entries.move(unit, chair.deps, wrong, made["_id"], to))
    assert (moved["session_id"], moved["facts"]["support_code"]) == (chair.session_id, "music")
    assert (await shown(chair, chair.session_id, moved)).get("note") == note
