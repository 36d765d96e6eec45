"""Groups: a participant's record is a session of its own that names its group, so all that holds of a session holds of it."""

from services.monitoring import schemas
from services.monitoring import schemas_session as bodies
from services.monitoring.store import GROUPS, SESSIONS
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.sessions import insert, new_session
from shared.errors import Conflict, NotFound
from shared.ids import derived_id, new_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, Reader, UnitOfWork, as_document


async def open_group(unit: UnitOfWork, body: schemas.NewSession) -> Document:
    """It has no patient, no state and no readings: those are its participants'."""
    fields = {"kind": "group", "route": body.route, "location_id": body.location_id}
    group = as_document(new_id(), unit.clock.clinical_now(), **fields)
    await unit.collection(GROUPS).insert(group)
    audit(unit, "session.open", f"group/{group['_id']}")
    return group


async def join(unit: UnitOfWork, deps: Deps, group_id: str, body: bodies.NewParticipant) -> Document:
    """Raises NotFound, and Conflict for somebody who takes part already; whoever was voided by mistake may join again."""
    group = await unit.collection(GROUPS).get(group_id)
    known = await unit.collection(SESSIONS).find({"group_id": group_id, "patient_id": body.patient_id})
    again = [str(len(known))] if known else []  # two who join at once get one id
    identifier = derived_id("participant", group_id, body.patient_id, *again)
    if any(row["state"] != "voided" for row in known):
        text = "This patient takes part already."
        raise Conflict(text, reasons=[{"code": "participant_known", "detail": text}])
    fields = {"kind": "group", "group_id": group_id, "location_id": group["location_id"]}
    about = {"patient_id": body.patient_id, "plan_id": body.plan_id}
    session = await new_session(unit, deps, identifier, body.route or group["route"], **fields, **about)
    return await insert(unit, session)


async def group(reader: Reader, group_id: str) -> Document | None:
    return await reader.collection(GROUPS).find_one({"_id": group_id})


async def members(reader: Reader, session_id: str) -> list[Document]:
    """Of a group in the order in which they joined; of any other session itself. Raises NotFound."""
    rows = await reader.collection(SESSIONS).find({"$or": [{"group_id": session_id}, {"_id": session_id}]})
    if not rows and await group(reader, session_id) is None:
        raise NotFound
    return sorted(rows, key=lambda row: row["created_at"])


async def of_group(reader: Reader, group_id: str, session_id: str) -> None:
    """Raises NotFound for a record of another group; a session that is no group is its only participant."""
    row = await reader.collection(SESSIONS).find_one({"_id": session_id})
    if row is None or group_id not in (row.get("group_id"), row["_id"]):
        raise NotFound
