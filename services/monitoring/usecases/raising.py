"""Alarms: what the engine decided becomes a document and an event, in the transaction of the readings that caused it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from services.monitoring.alarms import RuleState, Told, Transition
from services.monitoring.combinations import unit_of
from services.monitoring.limits import Limit
from services.monitoring.signals import Silence
from services.monitoring.store import ALARMS
from services.monitoring.usecases.devices import KINDS
from services.monitoring.usecases.entries import record
from shared.events.monitoring import (
    AlarmCleared,
    AlarmEscalated,
    AlarmRenewed,
    Priority,
    SignalLost,
    SignalRestored,
    SignRef,
    StaffRef,
    VitalsAbnormal,
)
from shared.ids import derived_id, new_id
from shared.messaging.outbox import emit
from shared.persistence.mongo import Document, UnitOfWork
from shared.telemetry.metrics import ALARMS_RAISED
from shared.telemetry.tracing import alarm_span

UNANSWERED = dict.fromkeys(
    (
        "acknowledged_at",
        "acknowledged_occurred_at",
        "acknowledged_by",
        "acknowledged_by_role",
        "seconds_to_acknowledge",
        "attended_at",
        "attended_occurred_at",
        "attended_by",
        "seconds_to_attend",
    )
)


def watch_key(session: Document) -> str:
    """What is watched as one: engine state, alarm ids and open alarms are kept by it."""
    return str(session["_id"])


async def apply(
    unit: UnitOfWork, session: Document, states: dict[str, RuleState], transitions: list[Transition]
) -> dict[str, RuleState]:
    """Write every transition; returns the states with the ids of the alarms that were raised."""
    after, raised = dict(states), dict[str, str]()
    for transition in transitions:
        name, state = transition.limit.name, transition.state
        if transition.over:
            if not await _was_raised(unit, session, transition):
                await clear(unit, session, await _raise(unit, session, transition), transition.at, transition.value)
        elif transition.kind == "raised":
            anew = await _anew(unit, session, transition)
            raised[name] = await _raise(unit, session, anew)
            if name in after and after[name].raised_at is not None:
                after[name] = replace(after[name], alarm_id=raised[name], alarm_since=anew.state.alarm_since)
        elif transition.kind == "renewed":
            await _renew(unit, session, transition)
        else:
            await clear(unit, session, raised.get(name) or state.alarm_id or "", transition.at, transition.value)
    return after


def alarm_id_of(session: Document, transition: Transition) -> str:
    """From session, rule and the breach's start, so the same for whoever evaluates."""
    return derived_id(watch_key(session), transition.limit.name, transition.state.breach_since.isoformat())


async def _was_raised(unit: UnitOfWork, session: Document, transition: Transition) -> bool:
    query = {"_id": alarm_id_of(session, transition), "open": False}
    return await unit.collection(ALARMS).find_one(query) is not None


async def stood(unit: UnitOfWork, session: Document, limits: Iterable[Limit]) -> tuple[Told, ...]:
    """From when to when alarms of these rules stood that are over: what goes on after one is told anew, from then on."""
    rules = [limit.name for limit in limits]
    rows = await unit.collection(ALARMS).find({"session_id": session["_id"], "rule": {"$in": rules}, "open": False})
    return tuple(sorted((row["breach_since"], max(row["breach_since"], row["cleared_at"])) for row in rows))


async def _anew(unit: UnitOfWork, session: Document, transition: Transition) -> Transition:
    """What counts again after its alarm was closed is told from now on: refused as known it would be silent for ever.

    That is rare: the store refuses the alarm's id, and only then is looked for it.
    """
    if not unit.repeated or not await _was_raised(unit, session, transition):
        return transition
    return replace(transition, state=replace(transition.state, alarm_since=unit.clock.clinical_now()))


async def _raise(unit: UnitOfWork, session: Document, transition: Transition) -> str:
    """The id comes from session, rule and the breach's start: two evaluators raise one alarm."""
    rule = transition.limit.rule
    alarm_id = alarm_id_of(session, transition)
    alarm = {"sign": rule.sign, "value": transition.value, "limit": transition.limit.bound, "pages": rule.pages}
    alarm |= {"category": "physiological", "breach_since": transition.state.breach_since, "open": not transition.over}
    await _insert(unit, session, alarm_id, rule.name, rule.priority, transition.at, **alarm)
    if rule.pages:
        event = VitalsAbnormal(
            **_place(session, alarm_id),
            signs=[_sign(transition)],
            rule=rule.name,
            category="physiological",
            priority=rule.priority,
            taken_at=transition.taken_at,
            raised_at=unit.clock.clinical_now(),
        )
        _emit_raised(unit, event, alarm_id)
    return alarm_id


def _sign(transition: Transition) -> SignRef:
    limit = transition.limit
    return SignRef(sign=limit.rule.sign, value=transition.value, unit=unit_of(limit.rule.sign), limit=limit.bound)


def _emit_raised(unit: UnitOfWork, event: VitalsAbnormal | SignalLost, alarm_id: str) -> None:
    with alarm_span(unit.scope.traceparent) as traceparent:
        emit(unit.under(unit.scope.traced(traceparent)), event, aggregate=f"alarm/{alarm_id}", version=1)


def _place(session: Document, alarm_id: str) -> Document:
    return {
        "patient_id": session["patient_id"],
        "alarm_id": alarm_id,
        "session_id": session["_id"],
        "room": session["room"] or "-",
        "chair": session["chair"] or "-",
        "responsible_staff": [StaffRef(**person) for person in session["responsible_staff"]],
    }


async def _insert(
    unit: UnitOfWork, session: Document, alarm_id: str, rule: str, priority: str, at: datetime, **facts: object
) -> None:
    alarm: Document = {
        "_id": alarm_id,
        "schema_version": 1,
        "version": 1,
        "session_id": session["_id"],
        "patient_id": session["patient_id"],
        "rule": rule,
        "priority": priority,
        "open": True,
        "raised_at": at,
        "created_at": unit.clock.clinical_now(),
        "updated_at": unit.clock.clinical_now(),
        **facts,
    }
    await unit.collection(ALARMS).insert(alarm)
    await record(
        unit, session, "alarm_raised", at, alarm_id=alarm_id, rule=rule, priority=priority, value=facts.get("value")
    )
    unit.after_commit(ALARMS_RAISED.labels(priority).inc)


async def next_version(unit: UnitOfWork, alarm: Document, **fields: object) -> Document:
    """The alarm saved with `fields`."""
    after = {**alarm, **fields, "version": alarm["version"] + 1, "updated_at": unit.clock.clinical_now()}
    await unit.collection(ALARMS).replace_versioned(after)
    return after


async def _renew(unit: UnitOfWork, session: Document, transition: Transition) -> None:
    alarm = await unit.collection(ALARMS).get(transition.state.alarm_id or "")
    after = await next_version(unit, alarm, **UNANSWERED, renewed_at=transition.at)
    event = AlarmRenewed(
        patient_id=session["patient_id"], alarm_id=alarm["_id"], at=transition.at, signs=[_sign(transition)]
    )
    emit(unit, event, aggregate=f"alarm/{alarm['_id']}", version=after["version"])
    await record(unit, session, "alarm_renewed", transition.at, alarm_id=alarm["_id"])


async def clear(unit: UnitOfWork, session: Document, alarm_id: str, at: datetime, value: float) -> None:
    alarm = await unit.collection(ALARMS).get(alarm_id)
    after = await next_version(unit, alarm, open=False, cleared_at=at)
    event = AlarmCleared(patient_id=session["patient_id"], alarm_id=alarm_id, at=at, value=value)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=after["version"])
    await record(unit, session, "alarm_cleared", at, alarm_id=alarm_id)


async def lose_signal(unit: UnitOfWork, session: Document, silence: Silence) -> Document:
    """A device fell silent; returns what the engine keeps of it.

    A silence may begin again with nothing newer heard, so its id says nothing of when; the store refuses a second open one.
    """
    now, alarm_id = unit.clock.clinical_now(), new_id()
    source = next((kind for kind in KINDS if session.get(kind) == silence.device), "device")
    rule = f"signal:{silence.device}"
    await _insert(unit, session, alarm_id, rule, silence.priority, now, pages=True, source=source)
    event = SignalLost(**_signal(session, alarm_id, silence.priority, source, silence.last_seen_at))
    _emit_raised(unit, event, alarm_id)
    return {"alarm_id": alarm_id, "priority": silence.priority, "last_seen_at": silence.last_seen_at}


async def worsen_signal(unit: UnitOfWork, session: Document, lost: Document, priority: Priority) -> Document:
    """The silence is graver than it was told: whoever answered it then is asked anew. Returns what the engine keeps of it."""
    alarm = await unit.collection(ALARMS).get(lost["alarm_id"])
    if alarm["open"]:
        now = unit.clock.clinical_now()
        after = await next_version(unit, alarm, **UNANSWERED, priority=priority, renewed_at=now)
        event = AlarmEscalated(patient_id=session["patient_id"], alarm_id=alarm["_id"], priority=priority, at=now)
        emit(unit, event, aggregate=f"alarm/{alarm['_id']}", version=after["version"])
        await record(unit, session, "alarm_escalated", now, alarm_id=alarm["_id"], priority=priority)
    return {**lost, "priority": priority}


def _awaits_answer(alarm: Document) -> bool:
    """Somebody called for help and nobody has accepted since: that it is about the measuring alone does not end it."""
    return alarm.get("escalated_at") is not None and alarm.get("acknowledged_at") is None


async def restore_signal(unit: UnitOfWork, session: Document, lost: Document, at: datetime) -> bool:
    """The device is heard again, or nobody waits for it any more. False where the alarm waits for an answer."""
    alarm = await unit.collection(ALARMS).get(lost["alarm_id"])
    if alarm["open"] and not _awaits_answer(alarm):
        await _restored(unit, session, alarm, lost["priority"], at)
        return True
    return not alarm["open"]


async def _restored(unit: UnitOfWork, session: Document, alarm: Document, priority: str, at: datetime) -> None:
    after = await next_version(unit, alarm, open=False, cleared_at=at)
    event = SignalRestored(**_signal(session, alarm["_id"], priority, alarm.get("source", "device"), at))
    emit(unit, event, aggregate=f"alarm/{alarm['_id']}", version=after["version"])
    await record(unit, session, "alarm_cleared", at, alarm_id=alarm["_id"])


def _signal(session: Document, alarm_id: str, priority: str, source: str, at: datetime) -> Document:
    """People are told which kind of device it is: its name may be a serial number."""
    about = {"patient_id": session["patient_id"], "session_id": session["_id"], "alarm_id": alarm_id}
    return {**about, "priority": priority, "source": source, "last_seen_at": at}


async def technical(
    unit: UnitOfWork,
    session: Document,
    rule: str,
    *,
    value: float,
    priority: Priority = "medium",
    pages: bool = True,
    signs: Sequence[SignRef] = (),
    **facts: object,
) -> str:
    """An alarm about the measuring itself, e.g. `clock:m1`; returns its id. One may be open per session and rule.

    It may be over and begin again within one delivery, so its id says nothing of when.
    """
    now, alarm_id = unit.clock.clinical_now(), new_id()
    facts |= {"category": "technical", "pages": pages, "value": value, "limit": None}
    facts["sign"] = signs[0].sign if signs else None
    await _insert(unit, session, alarm_id, rule, priority, now, **facts)
    if pages:
        event = VitalsAbnormal(
            **_place(session, alarm_id),
            signs=list(signs),
            rule=rule,
            category="technical",
            priority=priority,
            taken_at=now,
            raised_at=now,
        )
        _emit_raised(unit, event, alarm_id)
    return alarm_id


async def doubted_at(unit: UnitOfWork, alarm_id: str) -> datetime:
    """When the value was measured that the technical alarm is about."""
    alarm = await unit.collection(ALARMS).get(alarm_id)
    at: datetime = alarm.get("doubted_at") or alarm["raised_at"]
    return at


async def end_technical(unit: UnitOfWork, session: Document, alarm_id: str, value: float) -> bool:
    """What it was about is over. False where the alarm waits for an answer."""
    alarm = await unit.collection(ALARMS).get(alarm_id)
    if alarm["open"] and not _awaits_answer(alarm):
        await clear(unit, session, alarm_id, unit.clock.clinical_now(), value)
        return True
    return not alarm["open"]


async def end_all(unit: UnitOfWork, session: Document) -> None:
    """The session ended: nothing is watched any more, so every open alarm is over."""
    now = unit.clock.clinical_now()
    for alarm in await unit.collection(ALARMS).find({"session_id": session["_id"], "open": True}):
        if alarm["rule"].startswith("signal:"):
            await _restored(unit, session, alarm, alarm["priority"], now)
        else:
            await clear(unit, session, alarm["_id"], now, alarm["value"])
