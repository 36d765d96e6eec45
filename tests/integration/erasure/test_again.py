"""An erasure that is asked for again, with a key or without: the same answer, and nobody is told twice."""

from services.intake import schemas
from services.intake.usecases import erasing, patients
from shared.persistence.mongo import Document, Mongo
from tests.integration.intake.test_rekeying import CONTACT, OLD, SCOPE, intake, known


async def erases_inquiry(mongo: Mongo, inquiry_id: str) -> Document:
    return await mongo.run(SCOPE, lambda unit: erasing.erase_inquiry(unit, intake(OLD), inquiry_id, "duplicate"))


async def erases(mongo: Mongo, patient_id: str, **scope: str) -> Document:
    body = schemas.PatientErasure.model_validate({"reason_code": "test_data", **scope})
    return await mongo.run(SCOPE, lambda unit: erasing.erase_patient(unit, intake(OLD), patient_id, body))


async def told(mongo: Mongo) -> list[tuple[str, int]]:
    """Every event of the outbox, and the timers by which the tombstones are said again."""
    rows = await mongo.plumbing("outbox").find({})
    timers = await mongo.plumbing("timers").find({})
    return [(row["_id"], 0) for row in rows] + [(row["key"], row["payload"]["version"]) for row in timers]


async def asked(mongo: Mongo, action: str) -> int:
    return await mongo.plumbing("audit").count({"action": action})


async def test_an_inquirer_is_erased_once_and_whoever_asks_again_is_noted(mongo: Mongo) -> None:
    inquiry_id, _ = await known(mongo)
    first = await erases_inquiry(mongo, inquiry_id)
    before = await told(mongo)
    again = await erases_inquiry(mongo, inquiry_id)
    assert (again["version"], again["state"]) == (first["version"], "erased")
    assert await told(mongo) == before
    assert await asked(mongo, "inquiry.erase.duplicate") == 2


async def test_a_patients_contact_data_is_erased_once(mongo: Mongo) -> None:
    _, patient_id = await known(mongo)
    first = await erases(mongo, patient_id)
    before = await told(mongo)
    assert (await erases(mongo, patient_id))["version"] == first["version"]
    assert await told(mongo) == before


async def test_clinical_records_are_erased_after_the_contact_data_and_once(mongo: Mongo) -> None:
    _, patient_id = await known(mongo)
    first = await erases(mongo, patient_id)
    second = await erases(mongo, patient_id, scope="all")
    assert second["version"] == first["version"] + 1
    before = await told(mongo)
    for scope in ("all", "contact"):
        assert (await erases(mongo, patient_id, scope=scope))["version"] == second["version"]
    assert await told(mongo) == before


async def test_contact_data_that_came_since_is_erased_again(mongo: Mongo) -> None:
    _, patient_id = await known(mongo)
    version = (await erases(mongo, patient_id))["version"]
    await mongo.run(SCOPE, lambda unit: patients.change_contact(unit, intake(OLD), patient_id, version, CONTACT))
    again = await erases(mongo, patient_id)
    assert (again["version"], again["contact"]) == (version + 2, None)
