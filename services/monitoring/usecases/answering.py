"""What people do with an alarm: acknowledge, attend, silence, ask for help. Each is idempotent by state."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NoReturn

from services.monitoring import schemas
from services.monitoring.alarms import acknowledge
from services.monitoring.engines import engine_of, states_of
from services.monitoring.limits import is_collapse
from services.monitoring.store import ALARMS, ENGINES, SESSIONS
from services.monitoring.usecases import raising
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.entries import happened_at, record
from shared.errors import Conflict
from shared.events.monitoring import AlarmAcknowledged, AlarmAttended, AlarmEscalated
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork

SILENCE = timedelta(minutes=2)  # CFG
SUPPRESSED_AT_MOST = {  # CFG; of high priority no longer than until it would be renewed (pitfalls.md 2.4)
    "high": timedelta(minutes=3),
    "medium": timedelta(minutes=15),
    "low": timedelta(minutes=60),
}


async def _load(unit: UnitOfWork, alarm_id: str, verb: str) -> tuple[Document, Document]:
    alarm = await unit.collection(ALARMS).get(alarm_id)
    session = await unit.collection(SESSIONS).get(alarm["session_id"])
    audit(unit, f"alarm.{verb}", f"alarm/{alarm_id}", patient_id=session["patient_id"])
    return alarm, session


def _seconds(alarm: Document, at: datetime) -> float:
    """Since the alarm was raised, or renewed."""
    since: datetime = alarm.get("renewed_at") or alarm["raised_at"]
    return round(max((at - since).total_seconds(), 0.0), 3)


def _told(unit: UnitOfWork, body: schemas.Moment | None) -> datetime | None:
    """When it happened, where that was told; clocks of escalation and renewal go by the time of recording."""
    return happened_at(unit, body.occurred_at) if body is not None and body.occurred_at is not None else None


async def accept(
    unit: UnitOfWork,
    deps: Deps,
    alarm_id: str,
    by_role: str,
    at: datetime,
    *,
    by: str | None = None,
    body: schemas.Moment | None = None,
) -> Document:
    """Acknowledge; from the API or, by `by`, from the link in a page. Raises NotFound."""
    alarm, session = await _load(unit, alarm_id, "acknowledge")
    if alarm.get("acknowledged_at"):
        return alarm
    who: Document = {"acknowledged_by": by or unit.scope.actor.id, "acknowledged_by_role": by_role}
    told = _told(unit, body)
    who |= {"acknowledged_occurred_at": told, "seconds_to_acknowledge": _seconds(alarm, told or at)}
    alarm = await raising.next_version(unit, alarm, acknowledged_at=at, **who)
    about = {"patient_id": session["patient_id"], "alarm_id": alarm_id, "by_role": by_role}
    event = AlarmAcknowledged(**about, at=at, occurred_at=told)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=alarm["version"])
    facts = {"alarm_id": alarm_id, "by_role": by_role, "seconds": alarm["seconds_to_acknowledge"]}
    await record(unit, session, "alarm_acknowledged", told or at, **facts)
    await _tell_engine(unit, deps, session, alarm, at)
    return await unit.collection(ALARMS).get(alarm_id)


async def _tell_engine(unit: UnitOfWork, deps: Deps, session: Document, alarm: Document, at: datetime) -> None:
    engine = await unit.collection(ENGINES).find_one({"_id": session["_id"]})
    states = states_of(engine)
    limit = next((item for item in deps.limits(session) if item.name == alarm["rule"]), None)
    if engine is None or limit is None or alarm["rule"] not in states:
        return
    if states[alarm["rule"]].alarm_id != alarm["_id"]:  # an answer to an earlier alarm is none to the one that stands
        return
    states, transitions = acknowledge(states, limit, at)
    states = await raising.apply(unit, session, states, transitions)
    await unit.collection(ENGINES).put(engine_of(session["_id"], states, engine["signals"]))


async def attend(
    unit: UnitOfWork, deps: Deps, alarm_id: str, by_role: str, body: schemas.Moment | None = None
) -> Document:
    """Somebody is at the chair, and so has accepted; both are told. Raises NotFound.

    Notifications pages no more for what is attended: were it not accepted here, it would never clear nor be renewed.
    """
    alarm, session = await _load(unit, alarm_id, "attend")
    if alarm.get("attended_at"):
        return alarm
    now = unit.clock.clinical_now()
    alarm, told = await accept(unit, deps, alarm_id, by_role, now, body=body), _told(unit, body)
    took = _seconds(alarm, told or now)
    who = {"attended_by": unit.scope.actor.id, "attended_occurred_at": told, "seconds_to_attend": took}
    after = await raising.next_version(unit, alarm, attended_at=now, **who)
    about = {"patient_id": session["patient_id"], "alarm_id": alarm_id, "by_role": by_role}
    event = AlarmAttended(**about, at=now, occurred_at=told)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=after["version"])
    await record(unit, session, "alarm_attended", told or now, alarm_id=alarm_id, seconds=took)
    return after


async def silence(unit: UnitOfWork, alarm_id: str, body: schemas.Mute) -> Document:
    """Mutes the board's sound for at most two minutes; paging goes on. Raises NotFound."""
    alarm, session = await _load(unit, alarm_id, "silence")
    now, told = unit.clock.clinical_now(), _told(unit, body)
    until = now + min(timedelta(seconds=body.seconds), SILENCE)
    who = {"silenced_at": now, "silenced_occurred_at": told, "silenced_by": unit.scope.actor.id}
    after = await raising.next_version(unit, alarm, silenced_until=until, **who)
    await record(unit, session, "alarm_silenced", told, alarm_id=alarm_id, seconds=body.seconds)
    return after


async def suppress(unit: UnitOfWork, deps: Deps, alarm_id: str, body: schemas.Suppression) -> Document:
    """Accept the alarm and let its rule be quiet for a while in this session; a breach that outlasts that is told then.

    Raises NotFound, and Conflict for a rule that may not be quiet, or not for so long.
    """
    alarm, session = await _load(unit, alarm_id, "suppress")
    limit = next((item for item in deps.limits(session) if item.name == alarm["rule"]), None)
    longest = SUPPRESSED_AT_MOST[alarm["priority"]]
    if limit is None or is_collapse(limit.rule):
        _refuse("not_suppressible", "An alarm about a collapse, a device or the measuring is never suppressed.")
    if timedelta(minutes=body.minutes) > longest:
        _refuse("too_long", f"At most {longest.total_seconds() / 60:g} minutes at priority {alarm['priority']}.")
    now, told = unit.clock.clinical_now(), _told(unit, body)
    until = now + timedelta(minutes=body.minutes)
    await accept(unit, deps, alarm_id, unit.scope.actor.role, now, body=body)
    alarm = await unit.collection(ALARMS).get(alarm_id)
    who: Document = {"suppressed_at": now, "suppressed_occurred_at": told, "suppressed_by": unit.scope.actor.id}
    who["suppressed_reason"] = body.reason_code
    after = await raising.next_version(unit, alarm, suppressed_until=until, **who)
    change = {"$set": {f"suppressed.{alarm['rule']}": until}}
    await unit.collection(SESSIONS).change({"_id": session["_id"]}, change)
    facts = {"minutes": body.minutes, "reason_code": body.reason_code, "rule": alarm["rule"]}
    await record(unit, session, "alarm_suppressed", told or now, alarm_id=alarm_id, **facts)
    return after


def _refuse(code: str, text: str) -> NoReturn:
    raise Conflict(text, reasons=[{"code": code, "detail": text}])


async def escalate(unit: UnitOfWork, alarm_id: str, by_role: str, body: schemas.Moment | None = None) -> Document:
    """A person asks for help: the alarm is of high priority from now on, and whoever accepted it is asked anew.

    Notifications pages for it whoever accepted it before: an acceptance that stood here would leave nobody an answer
    that stops the paging. The board sounds again: who muted it knew of no need for help. Raises NotFound.
    """
    alarm, session = await _load(unit, alarm_id, "escalate")
    now, told = unit.clock.clinical_now(), _told(unit, body)
    if _help_asked(alarm, now):
        return alarm
    who: Document = {"escalated_occurred_at": told, "escalated_by": unit.scope.actor.id, "silenced_until": None}
    anew = alarm["open"] and alarm.get("acknowledged_at") is not None
    if anew:
        who |= {**raising.UNANSWERED, "renewed_at": now}
    if alarm["open"]:
        await _wait_for_answer(unit, alarm)
    after = await raising.next_version(unit, alarm, escalated_at=now, priority="high", **who)
    about = {"patient_id": session["patient_id"], "alarm_id": alarm_id, "by_role": by_role}
    event = AlarmEscalated(**about, priority="high", at=now, occurred_at=told)
    emit(unit, event, aggregate=f"alarm/{alarm_id}", version=after["version"])
    await record(unit, session, "alarm_escalated", told or now, alarm_id=alarm_id, acceptance_taken_back=anew or None)
    return after


def _help_asked(alarm: Document, now: datetime) -> bool:
    """Whether help was asked for and nothing came between: an acceptance, a renewal or a mute make it a call of its own."""
    asked = alarm.get("escalated_at")
    if asked is None or not alarm["open"]:
        return asked is not None
    renewed, muted = alarm.get("renewed_at") or asked, alarm.get("silenced_until") or now
    return alarm.get("acknowledged_at") is None and renewed <= asked and muted <= now


async def _wait_for_answer(unit: UnitOfWork, alarm: Document) -> None:
    """The engine waits for an answer, again or at all: whatever its rule's priority, nothing clears or renews it before."""
    engine = await unit.collection(ENGINES).find_one({"_id": alarm["session_id"]})
    states = states_of(engine)
    state = states.get(alarm["rule"])
    if engine is None or state is None or state.alarm_id != alarm["_id"]:
        return
    states[alarm["rule"]] = replace(state, acknowledged_at=None, help_asked=True)
    await unit.collection(ENGINES).put(engine_of(engine["_id"], states, engine["signals"]))


def asked_again_after(alarm: Document, at: datetime) -> bool:
    """Whether people were asked anew since: an answer of then is none to that."""
    return any(alarm.get(name) is not None and at < alarm[name] for name in ("renewed_at", "escalated_at"))


async def note_step(unit: UnitOfWork, alarm_id: str, step: int) -> bool:
    """The board shows how far the paging has come; False for an alarm that nobody raised here."""
    return bool(await unit.collection(ALARMS).update({"_id": alarm_id}, {"$max": {"escalation_step": step}}))
