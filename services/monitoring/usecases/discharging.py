"""The discharge: its gate on what was recorded since the last dose, its signature, its override."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.monitoring import discharge as gate
from services.monitoring import model
from services.monitoring import schemas_entries as bodies
from services.monitoring.discharge import Findings
from services.monitoring.store import ALARMS, VITALS
from services.monitoring.timeline import newest_score, present
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.ending import save_end, tell_gone
from services.monitoring.usecases.entries import of_session, record
from services.monitoring.usecases.sessions import load
from services.monitoring.vitals import SYSTOLIC
from shared.errors import Conflict, Forbidden
from shared.persistence.mongo import Document, UnitOfWork


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
        _may_pass(unmet, gate.absolute(rules, found.route), found.role, body.override_reason)
    code = body.override_reason if unmet else None
    trail = {"signed_by_role": found.role, "override_code": code}
    after |= {"disposition": {"disposition": "escort", "at": at, "by_role": found.role}}
    await save_end(unit, session, after)
    tell_gone(unit, after, "escort", found.minutes, checked, **trail)
    scores = {name: getattr(found, name) for name in ("aldrete", "padss", "moaas", "cadss", "systolic")}
    facts = {"minutes_from_last_dose": found.minutes, "aftercare": body.aftercare, "overridden": unmet or None}
    await record(unit, after, "discharged", at, **facts, **scores, **trail)
    return after


def _may_pass(unmet: Sequence[str], fixed: set[str], role: str, override: str | None) -> None:
    """A prescriber may go on against what is overridable, with a reason; nobody against what is absolute."""
    kinds = {name: "absolute" if name in fixed else "overridable" for name in unmet}
    if override is None or "absolute" in kinds.values():
        reasons = [
            {"code": name, "class": kind, "detail": f"The criterion {name} is not met."} for name, kind in kinds.items()
        ]
        raise Conflict("The patient may not leave yet; /leave records every other way out.", reasons=reasons)
    if role not in gate.PRESCRIBERS:
        raise Forbidden("Only a prescriber may override the discharge gate.")


async def _findings(unit: UnitOfWork, deps: Deps, session: Document, body: bodies.Discharge, at: datetime) -> Findings:
    protocol, base = deps.dosing(session), session["baseline"] or {}
    last = last_given(session)
    since = max(last or at, at - timedelta(minutes=protocol.discharge.findings_valid_minutes))
    seen = present(await of_session(unit, session["_id"]))
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
        systolic=await _systolic(unit, session["_id"], since, at),
        open_alarms=await unit.collection(ALARMS).count({"session_id": session["_id"], "open": True}),
        **body.model_dump(include={"dissociation_resolved", "escort_confirmed", "aftercare"}),
    )


def last_given(session: Document) -> datetime | None:
    """When the last administration ended: the last device or dose, or the end of the infusion. None while it runs."""
    infusion = session.get("infusion") or {}
    if not session["doses"] or infusion.get("state", "stopped") != "stopped":
        return None
    times: list[datetime] = [dose["at"] for dose in session["doses"]]
    return max([*times, infusion["since"]] if infusion else times)


async def _systolic(unit: UnitOfWork, session_id: str, since: datetime, at: datetime) -> float | None:
    query: Document = {"session_id": session_id, "sign": SYSTOLIC, "quarantined": None, "moved_to": None}
    query |= {"decision": {"$ne": "artefact"}, "taken_at": {"$gte": since, "$lte": at}}
    latest = await unit.collection(VITALS).find(query, sort=[("taken_at", -1)], limit=1)
    return float(latest[0]["value"]) if latest else None
