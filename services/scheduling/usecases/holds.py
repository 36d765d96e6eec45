"""A hold: a short claim while somebody decides. It ends by booking, by giving it back, or by its timer (real time)."""

from datetime import timedelta

from services.scheduling import schemas
from services.scheduling.store import HOLDS
from services.scheduling.usecases import claims
from services.scheduling.usecases.deps import Deps, zone_of
from shared.errors import Conflict, NotFound
from shared.ids import new_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer


async def hold(unit: UnitOfWork, deps: Deps, body: schemas.NewHold) -> Document:
    """Raises Invalid, and Conflict for what is closed or taken."""
    claims.check_times(body.start, body.end, unit.clock.clinical_now())
    rows = await claims.resources_named(unit, body.resources)
    now, identifier = unit.clock.system_now(), new_id()
    await claims.claim(unit, f"hold/{identifier}", rows, body.start, body.end, await zone_of(unit, deps))
    expires_at = now + timedelta(seconds=body.seconds or deps.protocol.hold_seconds)
    fields = {"resources": body.resources, "start": body.start, "end": body.end, "expires_at": expires_at}
    row = as_document(identifier, now, **fields)
    await unit.collection(HOLDS).insert(row)
    await set_timer(unit, "hold_expires", f"hold:{identifier}", expires_at, {"hold_id": identifier}, clock="system")
    audit(unit, "hold.add", f"hold/{identifier}")
    return row


async def give_back(unit: UnitOfWork, hold_id: str) -> None:
    """Raises NotFound when it has ended already."""
    if not await end(unit, hold_id):
        raise NotFound
    audit(unit, "hold.end", f"hold/{hold_id}")


async def take_over(unit: UnitOfWork, hold_id: str) -> None:
    """The booking in this transaction takes the hold's place. Raises Conflict when the hold has ended."""
    if not await end(unit, hold_id):
        reason = {"code": "hold_ended", "detail": "The hold has expired or was given back."}
        raise Conflict(reason["detail"], reasons=[reason])


async def end(unit: UnitOfWork, hold_id: str) -> bool:
    if not await unit.collection(HOLDS).delete({"_id": hold_id}):
        return False
    await claims.release(unit, f"hold/{hold_id}")
    await cancel_timer(unit, f"hold:{hold_id}")
    return True
