"""The discharge: its gate on what was recorded since the last dose, its signature, its override."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.monitoring import discharge as gate
from services.monitoring import model
from services.monitoring import schemas_entries as bodies
from services.monitoring.discharge import Findings
from services.monitoring.limits import Limits, broken
from services.monitoring.store import ALARMS, VITALS
from services.monitoring.timeline import newest_score, present
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.ending import save_end, tell_gone
from services.monitoring.usecases.entries import of_session, record
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import BY_NAME
from shared.errors import Conflict, Forbidden
from shared.persistence.mongo import Document, UnitOfWork

_BREATHING = ("spo2", "respiratory_rate")
_MEASURED = ("systolic", "diastolic", *_BREATHING)
_READ = ("aldrete", "padss", "moaas", "cadss", *_MEASURED)


async def discharge(unit: UnitOfWork, deps: Deps, session_id: str, body: bodies.Discharge) -> Document:
    """Raises NotFound, Conflict with every criterion that is not met, Forbidden for an override by another role."""
    session, now = await load(unit, session_id, "discharge"), unit.clock.clinical_now()
    at = min(body.occurred_at or now, now)
    after = model.move(session, "discharge", now, ended_at=at)
    found = await _findings(unit, deps, session, body, at)
    rules = deps.dosing(session).discharge
    checked = gate.criteria(rules, found)
    unmet = [item.criterion for item in checked if not item.met]
    if unmet:
        _may_pass(unmet, gate.absolute(rules, found.route), found, body.override_reason)
    code = body.override_reason if unmet else None
    trail = {"signed_by_role": found.role, "override_code": code}
    after |= {"disposition": {"disposition": "escort", "at": at, "by_role": found.role}}
    await save_end(unit, session, after)
    tell_gone(unit, after, "escort", found.minutes, checked, **trail)
    scores = {name: getattr(found, name) for name in _READ}
    facts = {"minutes_from_last_dose": found.minutes, "aftercare": body.aftercare, "overridden": unmet or None}
    await record(unit, after, "discharged", at, **facts, **scores, **trail)
    return after


def _may_pass(unmet: Sequence[str], fixed: set[str], found: Findings, override: str | None) -> None:
    """A prescriber may go on against what is overridable, with a reason; nobody against what is absolute."""
    kinds = {name: "absolute" if name in fixed else "overridable" for name in unmet}
    if override is None or "absolute" in kinds.values():
        reasons = [{"code": name, "class": kind, "detail": gate.detail(name, found)} for name, kind in kinds.items()]
        raise Conflict("The patient may not leave yet; /leave records every other way out.", reasons=reasons)
    if found.role not in gate.PRESCRIBERS:
        raise Forbidden("Only a prescriber may override the discharge gate.")


async def _findings(unit: UnitOfWork, deps: Deps, session: Document, body: bodies.Discharge, at: datetime) -> Findings:
    protocol, base = deps.dosing(session), session["baseline"] or {}
    last = last_given(session, infused=protocol.infused)
    since = max(last or at, at - timedelta(minutes=protocol.discharge.findings_valid_minutes))
    seen = present(await of_session(unit, session["_id"]))
    measured: dict[str, Any] = {
        name: await _newest(unit, session["_id"], BY_NAME[name].loinc, since, at) for name in _MEASURED
    }
    return Findings(
        route=protocol.route,
        role=unit.scope.actor.role,
        now=at,
        last_dose_at=last,
        aldrete=newest_score(seen, ["aldrete"], since, at),
        padss=newest_score(seen, ["padss"], since, at),
        moaas=newest_score(seen, ["moaas"], since, at),
        cadss=newest_score(seen, ["cadss6", "cadss"], last or at, at),
        cadss_before=base.get("cadss6") or 0,
        baseline_systolic=base.get("systolic"),
        baseline_diastolic=base.get("diastolic"),
        open_alarms=await unit.collection(ALARMS).count({"session_id": session["_id"], "open": True}),
        **measured,
        **await _breathing(unit, deps.limits({**session, "state": "recovery"}), session["_id"], measured),
        **body.model_dump(include={"dissociation_resolved", "escort_confirmed", "aftercare"}),
    )


def last_given(session: Document, *, infused: bool) -> datetime | None:
    """When the last administration ended: the last device or dose, or the end of what was infused.

    None while that runs, and until somebody has said that it ended. Of another route a stop ends the watching of the
    dose alone: its time counts from the dose.
    """
    infusion = session.get("infusion") or {}
    times: list[datetime] = [dose["at"] for dose in session["doses"]]
    if not times or not (infused or infusion.get("rate_mg_per_h") is not None):
        return max(times, default=None)
    return max(*times, infusion["since"]) if infusion.get("state") == "stopped" else None


async def _newest(unit: UnitOfWork, session_id: str, sign: str, since: datetime, at: datetime) -> float | None:
    """The newest value that is believed, as `vitals.believed` has it."""
    query: Document = {"session_id": session_id, "sign": sign, "moved_to": None, "decision": {"$ne": "artefact"}}
    query |= {"taken_at": {"$gte": since, "$lte": at}, "$or": [{"quarantined": None}, {"decision": "confirmed"}]}
    latest = await unit.collection(VITALS).find(query, sort=[("taken_at", -1)], limit=1)
    return float(latest[0]["value"]) if latest else None


async def _breathing(
    unit: UnitOfWork, limits: Limits, session_id: str, measured: Mapping[str, float | None]
) -> dict[str, Any]:
    """The limits that the breathing breaks, and how many alarms about it are open, combined ones among them."""
    values = {BY_NAME[name].loinc: measured[name] for name in _BREATHING}
    beyond = [item.name for sign, value in values.items() if value is not None for item in broken(limits, sign, value)]
    combined = {item.sign for item in limits.combinations if any(item.has(sign) for sign in values)}
    query = {"session_id": session_id, "open": True, "sign": {"$in": [*values, *sorted(combined)]}}
    return {"breathing_beyond": beyond, "breathing_alarms": await unit.collection(ALARMS).count(query)}
