"""A patient's time is claimed for the clinic that booked it."""

from services.scheduling.store import CHANGES, CLAIMS, patient_claim
from shared.persistence.migrations import AT_ONCE, run_migrations
from tests.integration.scheduling.world import CLINIC, World

SLOT = "20260302T1500"


async def test_claims_of_before_are_moved_and_what_was_taken_meanwhile_stays_with_who_took_it(world: World) -> None:
    claims = world.mongo.plumbing(CLAIMS)
    patients = [f"p{number:03}" for number in range(AT_ONCE + 1)]
    place = {"_id": f"chair-1:{SLOT}", "clinic_id": CLINIC, "owner": "appointment/old"}
    before = [place | {"_id": f"patient:{patient}:{SLOT}"} for patient in patients]
    taken = place | {"_id": f"{patient_claim(CLINIC, 'p000')}:{SLOT}", "owner": "appointment/new"}
    await claims.insert_many([place, *before, taken])
    assert await run_migrations(world.mongo, CHANGES) == ["0001-patient-claims-by-clinic"]
    assert await CHANGES[0].step(world.mongo) == 0
    moved = {f"{patient_claim(CLINIC, patient)}:{SLOT}": "appointment/old" for patient in patients[1:]}
    found = {row["_id"]: row["owner"] for row in await claims.find({})}
    assert found == moved | {row["_id"]: row["owner"] for row in (place, taken)}
