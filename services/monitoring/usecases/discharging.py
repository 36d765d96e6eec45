"""The discharge: its gate on what was recorded since the last dose, its signature, its override."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.monitoring import discharge as gate
from services.monitoring import model
from services.monitoring import schemas_entries as bodies
from services.monitoring.discharge import Findings, last_given
from services.monitoring.limits import Limits, broken
from services.monitoring.store import ALARMS, newest_within
from services.monitoring.timeline import newest_score, present
from services.monitoring.usecases import emergency
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
    """Of a discharge at `at`, up to now: what was found between that and its being told is passed over by nobody."""
    protocol, base, until = deps.dosing(session), session["baseline"] or {}, unit.clock.clinical_now()
    last = last_given(session, infused=protocol.infused)
    since = max(last or at, at - timedelta(minutes=protocol.discharge.findings_valid_minutes))
    seen = present(await of_session(unit, session["_id"]))
    limits = deps.limits({**session, "state": "recovery"})
    measured: dict[str, Any] = await _measured(unit, session, limits, since, until)
    return Findings(
        route=protocol.route,
        role=unit.scope.actor.role,
        now=at,
        last_dose_at=last,
        aldrete=newest_score(seen, ["aldrete"], since, until),
        padss=newest_score(seen, ["padss"], since, until),
        moaas=newest_score(seen, ["moaas"], since, until),
        cadss=newest_score(seen, ["cadss6", "cadss"], last or at, until),
        cadss_before=base.get("cadss6") or 0,
        baseline_systolic=base.get("systolic"),
        baseline_diastolic=base.get("diastolic"),
        open_alarms=await unit.collection(ALARMS).count({"session_id": session["_id"], "open": True}),
        emergency=await emergency.goes_on(unit, session),
        **measured,
        **await _breathing(unit, limits, session["_id"], measured),
        **body.model_dump(include={"dissociation_resolved", "escort_confirmed", "aftercare"}),
    )


async def _measured(
    unit: UnitOfWork, session: Document, limits: Limits, since: datetime, until: datetime
) -> dict[str, float | None]:
    """The newest value of each sign by the time that counts; of several of one moment the worse, until a human decides."""
    base, found = session["baseline"] or {}, dict[str, float | None]()
    for name in _MEASURED:
        sign = BY_NAME[name].loinc
        values = await newest_within(unit, session["_id"], sign, since, until)
        worse = _beyond(limits, sign) if name in _BREATHING else _away_from(base.get(name) or 0)
        found[name] = max(values, key=worse, default=None)
    return found


def _away_from(before: float) -> Callable[[float], float]:
    """A pressure is the worse the farther it is from the baseline."""
    return lambda value: abs(value - before)


def _beyond(limits: Limits, sign: str) -> Callable[[float], tuple[int, float]]:
    """Breathing is the worse the more limits it breaks, and then the lower it is."""
    return lambda value: (len(broken(limits, sign, value)), -value)


async def _breathing(
    unit: UnitOfWork, limits: Limits, session_id: str, measured: Mapping[str, float | None]
) -> dict[str, Any]:
    """The limits that the breathing breaks, and how many alarms about it are open, combined ones among them."""
    values = {BY_NAME[name].loinc: measured[name] for name in _BREATHING}
    beyond = [item.name for sign, value in values.items() if value is not None for item in broken(limits, sign, value)]
    combined = {item.sign for item in limits.combinations if any(item.has(sign) for sign in values)}
    query = {"session_id": session_id, "open": True, "sign": {"$in": [*values, *sorted(combined)]}}
    return {"breathing_beyond": beyond, "breathing_alarms": await unit.collection(ALARMS).count(query)}
