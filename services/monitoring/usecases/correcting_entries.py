"""Entries that were wrong, and entries that were another patient's: nothing is changed, everything leaves a trail."""

from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from services.monitoring import model
from services.monitoring import schemas_entries as bodies
from services.monitoring.doses_given import corrected, follows_baseline, giver, infusion_of, taken_away, taken_over
from services.monitoring.store import ENTRIES, SESSIONS
from services.monitoring.timeline import CORRECTABLE, CORRECTION, MOVABLE, MOVED_AWAY, present, root_of
from services.monitoring.usecases import scoring
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import MARKS, happened_at, of_session, record, tell
from services.monitoring.usecases.sessions import load
from services.monitoring.usecases.substances import UNKNOWN, witnessed
from shared.errors import Conflict, FieldError, Invalid, NotFound
from shared.events.envelope import rfc3339
from shared.events.monitoring import DoseCorrected
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork
from shared.persistence.vault import Erased

_PART = {
    "dose": "dose",
    "waste": "waste",
    "observation": "observation",
    "intervention": "intervention_code",
    "support": "support_code",
    "adverse_event": "adverse_event",
}


async def correct(unit: UnitOfWork, deps: Deps, session_id: str, entry_id: str, body: bodies.Correction) -> Document:
    """A new entry with the whole of what is known now. Raises NotFound, Conflict, Invalid."""
    session = await load(unit, session_id, "entry_correct")
    before = await _present(unit, session_id, entry_id, CORRECTABLE)
    facts = _facts(before, body)
    at = happened_at(unit, body.occurred_at or before["occurred_at"])
    after = {**before, "occurred_at": at, "facts": facts}
    _in_order(after)
    if before["kind"] == "dose":
        if not body.entered_in_error:
            follows_baseline(session, at, before["occurred_at"])
        facts["given_by"] = giver(session, before)
        changed = taken_away if body.entered_in_error else corrected
        after["facts"] = facts = await _change_dose(unit, session, before, after, changed)
    if before["kind"] == "waste" and not body.entered_in_error:
        known = await witnessed(unit, session, facts["witness"], "/waste", before["by"])
        facts = {name: value for name, value in facts.items() if name != UNKNOWN} | ({} if known else {UNKNOWN: True})
    note = await deps.vault.encrypt(unit, session["patient_id"], body.note) if body.note else None
    about = {"corrects": before["_id"], "corrected_kind": before["kind"], "reason_code": body.reason_code}
    wrong = body.entered_in_error or None
    entry = await record(
        unit, session, CORRECTION, after["occurred_at"], **about, entered_in_error=wrong, now=facts, note_sealed=note
    )
    _tell(unit, deps, session, entry["_id"], after, body.reason_code, given=not body.entered_in_error)
    if before["kind"] == "observation":
        await scoring.judge_again(unit, deps, session_id, before, None if body.entered_in_error else after)
    return entry


async def move(unit: UnitOfWork, deps: Deps, session_id: str, entry_id: str, body: bodies.MoveEntry) -> Document:
    """The entry in the other session; both timelines say what happened. Raises NotFound, Conflict."""
    session, target = await load(unit, session_id, "entry_move"), await load(unit, body.to_session_id, "entry_move")
    if session_id == body.to_session_id:
        raise Conflict(reasons=[{"code": "moved", "detail": "The entry is in that session."}])
    before = await _present(unit, session_id, entry_id, MOVABLE)
    facts = {name: value for name, value in before["facts"].items() if name not in MARKS}
    if before["kind"] == "dose":
        facts["given_by"] = giver(session, before)
        await _change_dose(unit, session, before, before, taken_away)
        taken = partial(taken_over, infusion=infusion_of(session, before))
        facts = await _change_dose(unit, target, before, {**before, "facts": facts}, taken)
    facts |= await _note_for(unit, deps, session, target, before)
    at = happened_at(unit, body.occurred_at)
    to = {"to_session": body.to_session_id, "moved_kind": before["kind"], "reason_code": body.reason_code}
    away = await record(unit, session, MOVED_AWAY, at, moves=before["_id"], **to)
    origin = {"moved_from": session_id, "moved_entry": before["_id"], "move_reason_code": body.reason_code}
    facts |= origin | {"moved_at": rfc3339(at)}
    entry = await record(unit, target, before["kind"], before["occurred_at"], **facts)
    _tell(unit, deps, session, away["_id"], before, body.reason_code, given=False, moved_at=at)
    _tell(unit, deps, target, entry["_id"], entry, body.reason_code, given=True, moved_at=at)
    if before["kind"] == "observation":
        await scoring.judge_again(unit, deps, session_id, before, None)
        await scoring.judge_again(unit, deps, body.to_session_id, None, entry)
    return entry


async def _note_for(unit: UnitOfWork, deps: Deps, session: Document, target: Document, entry: Document) -> Document:
    """The entry's note sealed for the other patient; an erased patient's can be read no more and stays behind."""
    sealed = entry["facts"].get("note_sealed")
    facts: Document = {}
    if sealed is not None:
        with suppress(Erased):
            opened = await deps.vault.decrypt(unit, session["patient_id"], sealed)
            facts["note_sealed"] = await deps.vault.encrypt(unit, target["patient_id"], opened)
    return facts


async def _present(unit: UnitOfWork, session_id: str, entry_id: str, kinds: tuple[str, ...]) -> Document:
    """The entry as it is known now. Raises NotFound, and Conflict for what is no such entry or is one no more."""
    named = await unit.collection(ENTRIES).get(entry_id)
    if named["session_id"] != session_id:
        raise NotFound
    if named["kind"] not in (*kinds, CORRECTION) or named["facts"].get("corrected_kind", kinds[0]) not in kinds:
        raise Conflict(reasons=[{"code": "kind", "detail": f"Only these can be changed: {', '.join(kinds)}."}])
    rows = present(await of_session(unit, session_id))
    found = next((row for row in rows if row["_id"] == root_of(named)), None)
    if found is None:
        raise Conflict(reasons=[{"code": "gone", "detail": "The entry was moved away, or is known as an error."}])
    return found


def _facts(before: Document, body: bodies.Correction) -> Document:
    """Raises Invalid for a part of another kind, and when nothing is said."""
    part = _PART[before["kind"]]
    others = sorted(body.parts - {part})
    if others:
        raise Invalid(errors=[FieldError(f"/{name}", f"does not fit a {before['kind']}", "kind") for name in others])
    given: Any = getattr(body, part)
    if given is None and not body.entered_in_error and body.occurred_at is None and body.note is None:
        raise Invalid(errors=[FieldError(f"/{part}", "is required where nothing else is corrected", "missing")])
    kept = {name: value for name, value in before["facts"].items() if name not in MARKS}
    if isinstance(given, bodies.Scored):
        measured = ("observation_code", "score", "items", "scale_version")
        return {name: value for name, value in kept.items() if name not in measured} | given.measured()
    if isinstance(given, str):
        return kept | {part: given}
    return kept | (given.model_dump(mode="json", exclude_none=True) if given else {})


def _in_order(after: Document) -> None:
    resolved = after["facts"].get("resolved_at")
    event = bodies.AdverseEventCorrection.model_validate({"resolved_at": resolved})
    if event.resolved_at is not None and event.resolved_at < after["occurred_at"]:
        raise Invalid(errors=[FieldError("/adverse_event/resolved_at", "lies before the onset", "value_error")])


async def _change_dose(unit: UnitOfWork, session: Document, before: Document, after: Document, change: Any) -> Document:
    """The session with the dose as it is known now; the facts with the dose per weight of this patient.

    What was to be done so long after the dose is timed anew.
    """
    now = unit.clock.clinical_now()
    changed, facts = change(session, before, after)
    await unit.collection(SESSIONS).replace_versioned(model.changed(session, now, **changed, arm_again=True))
    told: Document = facts
    return told


def _tell(
    unit: UnitOfWork,
    deps: Deps,
    session: Document,
    entry_id: str,
    entry: Document,
    reason_code: str,
    *,
    given: bool,
    moved_at: datetime | None = None,
) -> None:
    """An event that was no error stands as it was told; a dose is told as it is known now."""
    if entry["kind"] != "dose":
        if given:
            tell(unit, session, entry_id, entry)
        return
    facts = entry["facts"]
    event = DoseCorrected(
        patient_id=session["patient_id"],
        session_id=session["_id"],
        entry_id=entry["_id"],
        medication=facts["medication"],
        route=deps.dosing(session).route,
        amount=facts["amount_mg"],
        mg_per_kg=facts.get("mg_per_kg"),
        lot=facts["lot"],
        expiry=facts["expiry"],
        at=entry["occurred_at"],
        given=given,
        reason_code=reason_code,
        moved_at=moved_at,
    )
    emit(unit, event, aggregate=f"entry/{entry_id}", version=1)
