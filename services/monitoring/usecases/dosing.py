"""The dose: the gate is judged at it, and what a nurse does with it while it runs."""

from typing import Literal

from services.monitoring import model, schemas
from services.monitoring.doses import still_answered
from services.monitoring.doses_given import follows_baseline
from services.monitoring.gate_found import Proposed, Reason
from services.monitoring.store import SESSIONS
from services.monitoring.usecases import gating
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import happened_at, record
from services.monitoring.usecases.sessions import load
from services.monitoring.usecases.telling import tell_recovery
from shared.events.monitoring import (
    DoseAdministered,
    DoseGateRefused,
    DosePaused,
    DoseResumed,
    DoseStopped,
    SessionStarted,
)
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork

Verb = Literal["pause", "resume", "stop", "rate"]


async def give(unit: UnitOfWork, deps: Deps, session_id: str, body: schemas.Dose) -> Document:
    """One dose, or one device. Raises NotFound, Conflict with every reason, Forbidden, Invalid."""
    session = await load(unit, session_id, "dose")
    model.move(session, "dose", unit.clock.clinical_now())
    follows_baseline(session, happened_at(unit, body.occurred_at))
    by, at = unit.scope.actor.id, body.occurred_at
    proposed = Proposed(body.medication, body.amount_mg, body.expiry, by, body.checked_by, at)
    judged = await gating.judge(unit, deps, session, proposed, body.prescriber_on_site)
    opened = _open(unit, session, judged, body)
    after = _given(unit, deps, session, opened, body)
    await unit.collection(SESSIONS).replace_versioned(after)
    _tell(unit, deps, after, first=not session["doses"])
    codes = [reason.code for reason in judged.reasons if reason.kind == "overridable"] or None
    given = after["doses"][-1]
    await record(unit, after, "dose", given["at"], **_facts(given), overridden=codes)
    return after


def _open(unit: UnitOfWork, session: Document, judged: gating.Judged, body: schemas.Dose) -> Document:
    """The session whose gate is open, by itself or overridden before or now. Raises Conflict, Forbidden."""
    left: list[Reason] = judged.closing
    if not left:
        return session
    if body.override_reason is None:
        raise gating.refusal(judged.reasons)
    return gating.overridden(unit, session, judged, body.override_reason)


def _given(unit: UnitOfWork, deps: Deps, session: Document, opened: Document, body: schemas.Dose) -> Document:
    now = unit.clock.clinical_now()
    at, number = happened_at(unit, body.occurred_at), len(session["doses"]) + 1
    dose = body.model_dump(include={"medication", "amount_mg", "lot", "expiry", "checked_by"})
    dose |= {"mg_per_kg": round(body.amount_mg / session["baseline"]["weight_kg"], 3), "at": at}
    dose |= {"by": unit.scope.actor.id, "device_no": number if deps.dosing(session).devices else None}
    after = model.move({**opened, "version": session["version"]}, "dose", now, doses=[*session["doses"], dose])
    named = body.prescriber_on_site or session.get("prescriber_on_site")
    runs = deps.dosing(session).infused or body.rate_mg_per_h is not None
    return after | {
        "started_at": session["started_at"] or at,
        "prescriber_on_site": named,
        "infusion": model.started(session, at, body.rate_mg_per_h) if runs else session.get("infusion"),
        "gate_override": _used(opened.get("gate_override")),
    }


def _used(override: Document | None) -> Document | None:
    return override and override | {"codes": still_answered(override["codes"])}


def _facts(dose: Document) -> Document:
    return {name: value for name, value in dose.items() if name not in ("at", "by")}


async def note_refusal(unit: UnitOfWork, session_id: str, codes: list[str]) -> None:
    """A closed gate is told and kept, though the dose was refused: in a transaction of its own after the refusal."""
    session = await unit.collection(SESSIONS).get(session_id)
    entry = await record(unit, session, "gate_refused", reasons=codes)
    event = DoseGateRefused(
        patient_id=session["patient_id"], session_id=session_id, reasons=codes, at=entry["recorded_at"]
    )
    emit(unit, event, aggregate=f"entry/{entry['_id']}", version=1)
    audit(unit, "session.gate_refused", f"session/{session_id}", patient_id=session["patient_id"])


def _tell(unit: UnitOfWork, deps: Deps, after: Document, *, first: bool) -> None:
    aggregate, version, dose = f"session/{after['_id']}", after["version"], after["doses"][-1]
    about = {"patient_id": after["patient_id"], "session_id": after["_id"]}
    if first:
        started = SessionStarted(**about, appointment_id=after["appointment_id"], started_at=dose["at"])
        emit(unit, started, aggregate=aggregate, version=version)
    given = DoseAdministered(
        **about,
        medication=dose["medication"],
        route=deps.dosing(after).route,
        amount=dose["amount_mg"],
        unit="mg",
        mg_per_kg=dose["mg_per_kg"],
        device_no=dose["device_no"],
        lot=dose["lot"],
        expiry=dose["expiry"],
        at=dose["at"],
    )
    emit(unit, given, aggregate=aggregate, version=version)


async def change_infusion(unit: UnitOfWork, session_id: str, verb: Verb, body: schemas.Infusion) -> Document:
    """Pause and stop are accepted in every state, out of order if need be; the others need a running dose.

    What changes nothing (a pause of what is paused, a stop said again) is an entry and no event.

    Raises NotFound, Conflict.
    """
    session, now = await load(unit, session_id, f"dose_{verb}"), unit.clock.clinical_now()
    running, at = model.runs(session), happened_at(unit, body.occurred_at)
    after = model.stopped(session, at) if verb == "stop" else model.infusion(session, verb, at, body.rate_mg_per_h)
    if after is not session:
        await unit.collection(SESSIONS).replace_versioned(after | {"updated_at": now})
        tell_recovery(unit, session, after)
    kind = {"pause": "dose_paused", "resume": "dose_resumed", "stop": "dose_stopped", "rate": "dose_rate"}[verb]
    facts = {"rate_mg_per_h": body.rate_mg_per_h, "given_mg": body.given_mg, "out_of_order": not running or None}
    entry = await record(unit, session, kind, at, **facts)
    event = {"pause": DosePaused, "resume": DoseResumed, "stop": DoseStopped}.get(verb)
    if event is not None and after is not session:
        told = event(patient_id=session["patient_id"], session_id=session_id, at=entry["occurred_at"])
        emit(unit, told, aggregate=f"entry/{entry['_id']}", version=1)
    return after
