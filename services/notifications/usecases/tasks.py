"""The staff's work list: whatever "tell staff" means."""

from datetime import datetime

from services.notifications.store import TASKS
from shared.errors import Conflict
from shared.ids import derived_id
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer

KINDS = (
    *("contact_missing", "message_failed", "course_held", "session_aborted", "left_unseen", "unreadable_event"),
    "suicide_risk",
)


async def add_task(unit: UnitOfWork, kind: str, subject: str, cause: str, code: str | None = None) -> bool:
    """One task per kind and cause; `subject` is a resource reference such as `patient/0190...`."""
    identifier = derived_id("task", unit.scope.clinic_id, kind, cause)
    if await unit.collection(TASKS).find_one({"_id": identifier}):
        return False
    now = unit.clock.clinical_now()
    fields = {
        "kind": kind,
        "subject": subject,
        "code": code,
        "state": "open",
        "claimed_by": None,
        "snoozed_until": None,
    }
    await unit.collection(TASKS).insert(as_document(identifier, now, **fields))
    return True


async def read_task(unit: UnitOfWork, task_id: str) -> Document:
    """Raises NotFound. The read is audited."""
    task = await unit.collection(TASKS).get(task_id)
    audit(unit, "task.read", f"task/{task_id}")
    return task


async def claim_task(unit: UnitOfWork, task_id: str) -> Document:
    """Mine now. Idempotent for the same person. Raises NotFound, Conflict."""
    task, me = await unit.collection(TASKS).get(task_id), unit.scope.actor.id
    if task["state"] == "claimed" and task["claimed_by"] == me:
        return task
    if task["state"] in ("claimed", "done"):
        raise Conflict(reasons=[{"code": f"already_{task['state']}"}])
    await cancel_timer(unit, f"snooze:{task_id}")
    return await _change(unit, task, "claim", state="claimed", claimed_by=me, snoozed_until=None)


async def finish_task(unit: UnitOfWork, task_id: str) -> Document:
    task = await unit.collection(TASKS).get(task_id)
    if task["state"] == "done":
        return task
    await cancel_timer(unit, f"snooze:{task_id}")
    return await _change(unit, task, "done", state="done", snoozed_until=None)


async def snooze_task(unit: UnitOfWork, task_id: str, until: datetime) -> Document:
    """Out of sight until then. Raises NotFound, Conflict."""
    task = await unit.collection(TASKS).get(task_id)
    if task["state"] == "done":
        raise Conflict(reasons=[{"code": "already_done"}])
    await set_timer(unit, "snooze_over", f"snooze:{task_id}", until, {"task_id": task_id})
    return await _change(unit, task, "snooze", state="snoozed", claimed_by=None, snoozed_until=until)


async def wake_task(unit: UnitOfWork, task_id: str) -> None:
    task = await unit.collection(TASKS).find_one({"_id": task_id, "state": "snoozed"})
    if task:
        await _change(unit, task, "wake", state="open", snoozed_until=None)


async def _change(unit: UnitOfWork, task: Document, verb: str, **fields: object) -> Document:
    after = {**task, **fields, "version": task["version"] + 1, "updated_at": unit.clock.clinical_now()}
    await unit.collection(TASKS).replace_versioned(after)
    audit(unit, f"task.{verb}", f"task/{task['_id']}")
    return after
