"""The marker that keeps out what comes late about somebody who was erased; it holds an opaque id and nothing else."""

from collections.abc import Sequence

from shared.persistence.mongo import Reader, UnitOfWork

ERASED = "erased"


def _name(reader: Reader, subject_id: str) -> str:
    return f"{reader.scope.clinic_id}:{subject_id}"


async def mark_erased(unit: UnitOfWork, subject_id: str) -> None:
    """From the commit on, events about the subject are skipped in this service, and its answers are gone. Idempotent."""
    await forget_answers(unit, subject_id)
    await unit.plumbing(ERASED).put({"_id": _name(unit, subject_id), "at": unit.clock.system_now()})


async def is_erased(reader: Reader, subject_id: str) -> bool:
    return await reader.plumbing(ERASED).find_one({"_id": _name(reader, subject_id)}) is not None


async def forget_answers(unit: UnitOfWork, subject_id: str) -> None:
    """The stored answers of Idempotency-Keys that may hold something of the subject."""
    await unit.plumbing("idempotency").delete({"about": subject_id})


async def erased_among(unit: UnitOfWork, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (clinic, subject) were erased; one read for a whole batch."""
    wanted = {f"{clinic}:{subject}": (clinic, subject) for clinic, subject in names}
    rows = await unit.plumbing(ERASED).find({"_id": {"$in": list(wanted)}}) if wanted else []
    return {wanted[row["_id"]] for row in rows}
