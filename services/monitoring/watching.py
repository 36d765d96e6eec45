"""Readings in, alarms out: one transaction holds the readings, the engine's state, the alarms and their events."""

from dataclasses import asdict
from datetime import datetime

from services.monitoring import schemas
from services.monitoring.alarms import AT_REST, RuleState, Transition, acknowledge, evaluate
from services.monitoring.model import OPEN
from services.monitoring.store import ALARMS, ENGINES, SESSIONS, VITALS
from services.monitoring.usecases import Deps
from services.monitoring.vitals import SIGNS, quarantine_reason
from shared.events.monitoring import (
    AlarmAcknowledged,
    AlarmAttended,
    AlarmCleared,
    SignRef,
    StaffRef,
    VitalsAbnormal,
)
from shared.ids import derived_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork
from shared.telemetry.metrics import ALARMS_RAISED


async def take_readings(
    unit: UnitOfWork, deps: Deps, session_id: str, readings: list[schemas.Reading]
) -> list[schemas.ReadingResult]:
    """Acknowledged only with every alarm transition that they caused. Raises NotFound."""
    session = await unit.collection(SESSIONS).get(session_id)
    audit(unit, "vitals.take", f"session/{session_id}", patient_id=session["patient_id"])
    ids = [derived_id(session_id, r.sign, r.device, r.taken_at.isoformat()) for r in readings]
    known = {row["_id"] for row in await unit.collection(VITALS).find({"_id": {"$in": ids}})}
    states = await _states(unit, session_id)
    before, results, rows = dict(states), [], []
    for identifier, reading in sorted(zip(ids, readings, strict=True), key=lambda pair: pair[1].taken_at):
        if identifier in known:
            results.append(schemas.ReadingResult(id=identifier, result="duplicate"))
            continue
        known.add(identifier)
        reason = quarantine_reason(reading.sign, reading.value, reading.unit)
        rows.append(_row(unit, session_id, identifier, reading, reason))
        result = schemas.ReadingResult(id=identifier, result="quarantined" if reason else "stored", reason=reason)
        results.append(result)
        if reason is None and session["state"] in OPEN:
            states, transitions = evaluate(states, reading.sign, reading.value, reading.taken_at, deps.protocol.rules)
            for transition in transitions:
                await _record(unit, session, transition)
    await unit.collection(VITALS).insert_many(rows)
    if states != before:
        await _save(unit, session_id, states)
    order = {identifier: number for number, identifier in enumerate(ids)}
    return sorted(results, key=lambda result: order[result.id])


def _row(unit: UnitOfWork, session_id: str, identifier: str, reading: schemas.Reading, reason: str | None) -> Document:
    times = {"taken_at": reading.taken_at, "received_at": unit.clock.clinical_now()}
    facts = reading.model_dump(include={"sign", "value", "unit", "device"})
    return {"_id": identifier, "schema_version": 1, "session_id": session_id, "quarantined": reason, **facts, **times}


async def _states(unit: UnitOfWork, session_id: str) -> dict[str, RuleState]:
    row = await unit.collection(ENGINES).find_one({"_id": session_id})
    return {name: RuleState(**state) for name, state in row["rules"].items()} if row else {}


async def _save(unit: UnitOfWork, session_id: str, states: dict[str, RuleState]) -> None:
    rules = {name: asdict(state) for name, state in states.items()}
    await unit.collection(ENGINES).put({"_id": session_id, "schema_version": 1, "rules": rules})


async def _record(unit: UnitOfWork, session: Document, transition: Transition) -> None:
    """The alarm's id comes from session, rule and the breach's start: two evaluators raise one alarm."""
    rule, session_id = transition.rule, session["_id"]
    alarm_id = derived_id(session_id, rule.name, transition.breach_since.isoformat())
    if transition.kind == "cleared":
        await _clear(unit, session, alarm_id, transition)
        return
    alarm: Document = {
        "_id": alarm_id,
        "schema_version": 1,
        "version": 1,
        "session_id": session_id,
        "rule": rule.name,
        "sign": rule.sign,
        "value": transition.value,
        "priority": rule.priority,
        "open": True,
        "raised_at": transition.at,
        "breach_since": transition.breach_since,
    }
    await unit.collection(ALARMS).insert(alarm)
    await unit.collection(SESSIONS).update({"_id": session_id}, {"$inc": {"alarm_count": 1}})
    sign = SignRef(sign=rule.sign, value=transition.value, unit=SIGNS[rule.sign].unit, limit=rule.limit)
    event = VitalsAbnormal(
        patient_id=session["patient_id"],
        alarm_id=alarm_id,
        session_id=session_id,
        room=session["room"],
        chair=session["chair"],
        responsible_staff=[StaffRef(**person) for person in session["responsible_staff"]],
        signs=[sign],
        rule=rule.name,
        category="physiological",
        priority=rule.priority,
        taken_at=transition.at,
        raised_at=unit.clock.clinical_now(),
    )
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=1)
    unit.after_commit(ALARMS_RAISED.labels(rule.priority).inc)


async def _clear(unit: UnitOfWork, session: Document, alarm_id: str, transition: Transition) -> None:
    alarm = await unit.collection(ALARMS).get(alarm_id)
    after = {**alarm, "open": False, "cleared_at": transition.at, "version": alarm["version"] + 1}
    await unit.collection(ALARMS).replace_versioned(after)
    event = AlarmCleared(patient_id=session["patient_id"], alarm_id=alarm_id, at=transition.at, value=transition.value)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=after["version"])


async def accept(unit: UnitOfWork, deps: Deps, alarm_id: str, by_role: str, at: datetime) -> Document:
    """Acknowledge, by state idempotent; from the API or from the link in a page. Raises NotFound."""
    alarm = await unit.collection(ALARMS).get(alarm_id)
    session = await unit.collection(SESSIONS).get(alarm["session_id"])
    audit(unit, "alarm.acknowledge", f"alarm/{alarm_id}", patient_id=session["patient_id"])
    if alarm.get("acknowledged_at"):
        return alarm
    alarm = {**alarm, "acknowledged_at": at, "acknowledged_by_role": by_role, "version": alarm["version"] + 1}
    await unit.collection(ALARMS).replace_versioned(alarm)
    event = AlarmAcknowledged(patient_id=session["patient_id"], alarm_id=alarm_id, by_role=by_role, at=at)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=alarm["version"])
    states = await _states(unit, session["_id"])
    rule = next((rule for rule in deps.protocol.rules if rule.name == alarm["rule"]), None)
    if rule and rule.name in states:
        state, transition = acknowledge(states[rule.name], rule, alarm["value"], at)
        states[rule.name] = state
        if transition:
            await _record(unit, session, transition)
        await _save(unit, session["_id"], {name: kept for name, kept in states.items() if kept != AT_REST})
    return await unit.collection(ALARMS).get(alarm_id)


async def attend(unit: UnitOfWork, alarm_id: str, by_role: str) -> Document:
    """Somebody is at the chair; idempotent by state. Raises NotFound."""
    alarm, now = await unit.collection(ALARMS).get(alarm_id), unit.clock.clinical_now()
    session = await unit.collection(SESSIONS).get(alarm["session_id"])
    audit(unit, "alarm.attend", f"alarm/{alarm_id}", patient_id=session["patient_id"])
    if alarm.get("attended_at"):
        return alarm
    after = {**alarm, "attended_at": now, "version": alarm["version"] + 1}
    await unit.collection(ALARMS).replace_versioned(after)
    event = AlarmAttended(patient_id=session["patient_id"], alarm_id=alarm_id, by_role=by_role, at=now)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=after["version"])
    return after


async def note_step(unit: UnitOfWork, alarm_id: str, step: int) -> None:
    """The board shows how far the paging has come."""
    await unit.collection(ALARMS).update({"_id": alarm_id}, {"$max": {"escalation_step": step}})
