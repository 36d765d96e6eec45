"""Escalations: one per alarm. Each transition saves the state, sets its one timer and writes the pages as rows."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from services.notifications import escalation as rules
from services.notifications.escalation import State
from services.notifications.store import ESCALATIONS
from services.notifications.usecases import directory, links, paging
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.messaging import cancel, reached_somebody
from shared.events.notifications import (
    EscalationAcknowledged,
    EscalationExhausted,
    EscalationStarted,
    EscalationStepTaken,
)
from shared.ids import derived_id
from shared.messaging.outbox import emit
from shared.persistence.audit import audit
from shared.persistence.mongo import Document, UnitOfWork, as_document
from shared.persistence.timers import cancel_timer, set_timer

_STATE = ("phase", "priority", "base", "run", "step", "accepted_at", "asked_at", "answered_at", "attended_at")


@dataclass(frozen=True)
class Alarm:
    """What is known of an alarm; `known` is False when only a later event of it has come so far.

    `placed_at`: when monitoring told where it is and who answers for it.
    """

    alarm_id: str
    session_id: str | None
    patient_id: str | None
    priority: str
    raised_at: datetime
    kind: str = "alarm"
    what: str = ""
    room: str | None = None
    chair: str | None = None
    signs: Sequence[Mapping[str, Any]] = ()
    responsible: Sequence[Mapping[str, str]] = field(default_factory=tuple)
    known: bool = True
    placed_at: str | None = None


def escalation_id(unit: UnitOfWork, alarm_id: str) -> str:
    return derived_id("escalation", unit.scope.clinic_id, alarm_id)


async def find(unit: UnitOfWork, alarm_id: str) -> Document | None:
    return await unit.collection(ESCALATIONS).find_one({"_id": escalation_id(unit, alarm_id)})


async def start(unit: UnitOfWork, deps: Deps, alarm: Alarm) -> bool:
    """Page the first step; False when this alarm escalates already. A stub that came first is completed, not restarted."""
    row, _ = await asyncio.gather(find(unit, alarm.alarm_id), directory.open_book(unit, deps))  # the step asks for it
    if row is None:
        asked_at = None if alarm.known else alarm.raised_at  # an alarm that is new has no earlier answer
        begun = rules.begin(alarm.priority, unit.clock.clinical_now(), asked_at)
        await take_step(unit, deps, _new(unit, alarm, begun))
        return True
    if row["known"]:
        return False
    await _save(unit, deps, row | _facts(alarm), _state(row))
    return True


def _new(unit: UnitOfWork, alarm: Alarm, state: State) -> Document:
    """Not stored yet: version 0."""
    identifier = escalation_id(unit, alarm.alarm_id)
    event = EscalationStarted(patient_id=alarm.patient_id, escalation_id=identifier, alarm_id=alarm.alarm_id)
    emit(unit, event, aggregate=f"escalation/{identifier}", version=1)
    return as_document(identifier, unit.clock.clinical_now(), **_facts(alarm), **_fields(state)) | {"version": 0}


def _facts(alarm: Alarm) -> Document:
    facts = {name: getattr(alarm, name) for name in Alarm.__dataclass_fields__ if name != "priority"}
    return facts | {
        "signs": [dict(sign) for sign in alarm.signs],
        "responsible": [dict(who) for who in alarm.responsible],
    }


def _fields(state: State) -> Document:
    return {name: getattr(state, name) for name in _STATE}


def _state(row: Document) -> State:
    return State(**{name: row[name] for name in _STATE if name in row})


async def _save(unit: UnitOfWork, deps: Deps, row: Document, state: State) -> Document:
    """Save, and set or cancel the one timer that this state has."""
    after = {**row, **_fields(state), "version": row["version"] + 1, "updated_at": unit.clock.clinical_now()}
    if row["version"] == 0:
        await unit.collection(ESCALATIONS).insert(after)
    else:
        await unit.collection(ESCALATIONS).replace_versioned(after)
    key, due = f"escalation:{row['_id']}", rules.timer(deps.policy, state)
    if due is None:
        await cancel_timer(unit, key)
    else:
        payload = {"escalation_id": row["_id"], "run": state.run, "step": state.step}
        await set_timer(unit, due.kind, key, due.at, payload, priority=0)
    return after


async def take_step(unit: UnitOfWork, deps: Deps, row: Document) -> Document:
    """Page the people of the next step that reaches somebody, and at the end of the ladder the fallback pager too."""
    row, book = await _where_it_is_now(unit, row), await directory.open_book(unit, deps)
    reached = {role: [person for person in people if person in book.routes] for role, people in book.rota.items()}
    responsible = [who for who in row["responsible"] if who["staff_id"] in book.routes]
    taken = rules.take(deps.policy, _state(row), responsible, reached)
    after = await _save(unit, deps, row, taken.state)
    await paging.page_step(unit, deps, after, taken, book)
    aggregate, ids = f"escalation/{row['_id']}", {"escalation_id": row["_id"], "alarm_id": row["alarm_id"]}
    told = {"patient_id": row["patient_id"], "step": taken.state.step, "role": taken.role, **ids}
    emit(unit, EscalationStepTaken(**told), aggregate=aggregate, version=after["version"])
    if taken.exhausted:
        emit(unit, EscalationExhausted(**told), aggregate=aggregate, version=after["version"])
    return after


async def _where_it_is_now(unit: UnitOfWork, row: Document) -> Document:
    """With the session's place and people of now, from the second step on, where they were told after those of the alarm.

    The lanes overtake each other: what is known of the session may be older than what the alarm says.
    """
    if row["version"] == 0:
        return row
    place = await directory.session_place(unit, row["session_id"])
    told_at = place.get("told_at")
    if told_at is None or (row["room"] is not None and told_at <= (row.get("placed_at") or told_at)):
        return row
    return row | {name: place[name] for name in ("room", "chair", "responsible")} | {"placed_at": told_at}


async def step_due(unit: UnitOfWork, deps: Deps, payload: Document) -> None:
    """The timer of the next step; one of an earlier run or step is moot."""
    row = await unit.collection(ESCALATIONS).find_one({"_id": payload["escalation_id"]})
    if row and row["phase"] == "paging" and (row["run"], row["step"]) == (payload["run"], payload["step"]):
        state = rules.without_missed_laps(deps.policy, _state(row), unit.clock.clinical_now())
        await take_step(unit, deps, row | _fields(state))


async def not_attended(unit: UnitOfWork, deps: Deps, payload: Document) -> None:
    """Accepted, but nobody came: paging resumes from the first step."""
    row = await unit.collection(ESCALATIONS).find_one({"_id": payload["escalation_id"]})
    if row and row["phase"] == "accepted" and row["run"] == payload["run"]:
        await _restart(unit, deps, row, rules.resume(_state(row), unit.clock.clinical_now()))


async def _restart(unit: UnitOfWork, deps: Deps, row: Document, state: State) -> None:
    saved = await _save(unit, deps, row, state)
    await take_step(unit, deps, saved)


def _stub(unit: UnitOfWork, alarm_id: str, patient_id: str | None, at: datetime, state: State) -> Document:
    """An event of an alarm that is not known yet: what it says is kept, and VitalsAbnormal completes it."""
    return _new(unit, Alarm(alarm_id, None, patient_id, state.priority, at, known=False), state)


async def accept(unit: UnitOfWork, deps: Deps, alarm_id: str, patient_id: str | None, at: datetime) -> bool:
    """Paging stops. False when it had stopped, or when people were asked anew since."""
    row = await find(unit, alarm_id)
    if row is None:
        state = rules.accept(rules.begin("high", at), at, at)
        await _save(unit, deps, _stub(unit, alarm_id, patient_id, at, state), state)
        return True
    return await _answered(unit, deps, row, rules.accept(_state(row), at, unit.clock.clinical_now()))


async def attend(unit: UnitOfWork, deps: Deps, alarm_id: str, patient_id: str | None, at: datetime) -> None:
    """Somebody is at the chair. Idempotent by state."""
    row = await find(unit, alarm_id)
    if row is None:
        state = rules.attend(rules.begin("high", at), at)
        await _save(unit, deps, _stub(unit, alarm_id, patient_id, at, state), state)
    else:
        await _answered(unit, deps, row, rules.attend(_state(row), at))


async def clear(unit: UnitOfWork, deps: Deps, alarm_id: str, patient_id: str | None, at: datetime) -> None:
    """The alarm is over: no step is taken any more. While nobody was reached, the pages that were written still leave."""
    row = await find(unit, alarm_id)
    if row is None:
        state = rules.end(rules.begin("high", at))
        await _save(unit, deps, _stub(unit, alarm_id, patient_id, at, state), state)
    elif row["phase"] != "ended":
        if await reached_somebody(unit, row["_id"]):
            await cancel(unit, {"escalation_id": row["_id"]}, "ended")
        await _save(unit, deps, row, rules.end(_state(row)))


async def renew(unit: UnitOfWork, deps: Deps, alarm: Alarm) -> None:
    """Acknowledged and still true: paging starts anew with the values of now."""
    row = await find(unit, alarm.alarm_id)
    if row is None:
        await start(unit, deps, alarm)
    else:
        signs = [dict(sign) for sign in alarm.signs] or row["signs"]
        state = rules.renew(_state(row), alarm.raised_at, unit.clock.clinical_now())
        await _asked(unit, deps, row | {"signs": signs}, state)


async def raise_priority(unit: UnitOfWork, deps: Deps, alarm: Alarm) -> None:
    """Priority raised or help asked for: more people, now."""
    row = await find(unit, alarm.alarm_id)
    if row is None:
        await start(unit, deps, alarm)
    else:
        state = rules.raise_to(deps.policy, _state(row), alarm.priority, alarm.raised_at, unit.clock.clinical_now())
        await _asked(unit, deps, row, state)


async def _answered(unit: UnitOfWork, deps: Deps, row: Document, state: State) -> bool:
    """Keep the state; whether it is of another phase now, and so quiet."""
    if state.phase != row["phase"]:
        await _quieten(unit, deps, row, state)
        return True
    if state != _state(row):
        await _save(unit, deps, row, state)
    return False


async def _asked(unit: UnitOfWork, deps: Deps, row: Document, state: State) -> None:
    """Keep the state; what began anew pages at once."""
    if state.run != row["run"]:
        await _restart(unit, deps, row, state)
    elif state != _state(row):
        await _save(unit, deps, row, state)


async def _quieten(unit: UnitOfWork, deps: Deps, row: Document, state: State) -> Document:
    await cancel(unit, {"escalation_id": row["_id"]}, state.phase)
    return await _save(unit, deps, row, state)


async def read(unit: UnitOfWork, identifier: str) -> Document:
    """Raises NotFound. The read is audited."""
    row = await unit.collection(ESCALATIONS).get(identifier)
    audit(unit, "escalation.read", f"escalation/{identifier}", patient_id=row["patient_id"])
    return row


async def acknowledge(
    unit: UnitOfWork, deps: Deps, identifier: str, by: str, by_role: str, channel: Literal["link", "api"]
) -> Document:
    """From a link or the API: stops the paging here at once and travels to monitoring. Idempotent by state. Raises NotFound."""
    row = await unit.collection(ESCALATIONS).get(identifier)
    audit(unit, "escalation.acknowledge", f"escalation/{identifier}", patient_id=row["patient_id"])
    if row["phase"] != "paging":
        return row
    state, now = _state(row), unit.clock.clinical_now()
    at = max(now, state.asked_at or now)  # whoever answers here has been asked, whatever another's clock says
    after = await _quieten(unit, deps, row, rules.accept(replace(state, answered_at=None), at, now))
    event = EscalationAcknowledged(
        patient_id=row["patient_id"],
        escalation_id=identifier,
        alarm_id=row["alarm_id"],
        by=by,
        by_role=by_role,
        at=at,
        channel=channel,
    )
    emit(unit, event, aggregate=f"escalation/{identifier}", version=after["version"])
    return after


async def use_link(unit: UnitOfWork, deps: Deps, token: str) -> Document:
    """A link acts once; used again it changes nothing, even when paging has resumed since. Raises NotFound, Gone."""
    link = await links.open_link(unit, token)
    if not await links.spend(unit, link):
        return await read(unit, link["escalation_id"])
    return await acknowledge(unit, deps, link["escalation_id"], link["staff_id"], link["role"], "link")
