"""The watch over the watchers: beats in, pages out when they fall silent or say that the store is gone."""

from collections.abc import Iterator

from services.notifications.store import DEAD_LETTERS, SESSIONS, WATCH
from services.notifications.usecases import directory, escalations
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.escalations import Alarm
from services.notifications.usecases.paging import page_once
from services.notifications.usecases.tasks import add_task
from services.notifications.watch import Finding, observe, over
from shared.events.monitoring import EvaluatorBeat
from shared.ids import derived_id
from shared.persistence.mongo import Document, UnitOfWork

_ON_CALL = ("nurse", "prescriber")
_SAID = {
    "monitoring_silent": "monitoring of this clinic is not heard, look at the board and at the monitors",
    "session_not_evaluated": "this session is not being evaluated, look at the monitor",
    "sessions_not_evaluated": "sessions are not being evaluated, look at the board and at the monitors",
    "store_gone": "monitoring cannot record, look at the board and at the monitors",
    "alarms_not_sent": "alarms are recorded and not sent, look at the board",
    "unrecorded_alarm": "alarm not recorded, look at the board",
    "unreadable_alarm": "unreadable alarm, look at the board",
}


async def note_beat(unit: UnitOfWork, deps: Deps, beat: EvaluatorBeat) -> None:
    """Keep the newest stamps; what the beat itself reports escalates at once."""
    now, watch = unit.clock.system_now(), unit.collection(WATCH)
    stamps = [(session.session_id, session.last_evaluated_at) for session in beat.sessions]
    before = await watch.find_one({"_id": unit.scope.clinic_id})
    if before and before.get("silent"):
        await escalations.clear(unit, deps, before["silent"], None, unit.clock.clinical_now())
    after = observe(before, sessions=stamps, ended=beat.ended, now=now)
    told: dict[str, Document] = dict((before or {}).get("told", {}))
    for finding in _told(beat):
        key = derived_id(finding.cause)
        if key in told and over(told[key], now):
            await _clear(unit, deps, told.pop(key))
        if key not in told:
            told[key] = {"alarm_id": derived_id(finding.cause, now.isoformat())}
            await _escalate(unit, deps, finding, told[key]["alarm_id"])
        told[key]["last"] = now
    await watch.put({"_id": unit.scope.clinic_id, "schema_version": 1, **after, "told": told})


def _told(beat: EvaluatorBeat) -> Iterator[Finding]:
    if beat.store == "gone":
        yield Finding("store_gone", "store_gone", beat.at)
    if beat.unsent_since is not None:
        yield Finding("alarms_not_sent", "alarms_not_sent", beat.unsent_since)
    for alarm in beat.unrecorded:
        cause = f"unrecorded:{alarm.session_id}:{alarm.rule}:{alarm.since.isoformat()}"
        yield Finding("unrecorded_alarm", cause, alarm.since, alarm.session_id, alarm.rule)


async def end_trouble(unit: UnitOfWork, deps: Deps, key: str) -> None:
    """What nobody tells any more is paged no more, also when no beat comes at all; one at a time, for there may be many."""
    row = await unit.collection(WATCH).get(unit.scope.clinic_id)
    trouble = row.get("told", {}).get(key)
    if trouble is not None and over(trouble, unit.clock.system_now()):
        await _clear(unit, deps, trouble)
        await unit.collection(WATCH).update({"_id": row["_id"]}, {"$unset": {f"told.{key}": ""}})


async def _clear(unit: UnitOfWork, deps: Deps, trouble: Document) -> None:
    await escalations.clear(unit, deps, trouble["alarm_id"], None, unit.clock.clinical_now())


async def report(unit: UnitOfWork, deps: Deps, finding: Finding) -> None:
    """Page the clinic's nurses and prescriber on call, once per cause; monitoring's silence escalates like a high alarm."""
    if finding.code == "monitoring_silent":
        alarm_id = derived_id(finding.cause)
        await _escalate(unit, deps, finding, alarm_id)
        await unit.collection(WATCH).update({"_id": unit.scope.clinic_id}, {"$set": {"silent": alarm_id}})
        return
    place = await directory.session_place(unit, finding.session_id)
    facts = {"kind": "monitoring", "what": _what(finding), "code": finding.code}
    facts |= {"room": place["room"], "chair": place["chair"]}
    await page_once(unit, deps, finding.cause, _ON_CALL, facts, unit.clock.clinical_now())


async def _escalate(unit: UnitOfWork, deps: Deps, finding: Finding, alarm_id: str) -> None:
    """Like a high alarm, until somebody accepts or the finding is over."""
    place, now = await directory.session_place(unit, finding.session_id), unit.clock.clinical_now()
    alarm = Alarm(
        alarm_id,
        None,
        None,
        "high",
        now,
        kind="monitoring",
        what=_what(finding),
        room=place["room"],
        chair=place["chair"],
        responsible=place["responsible"],
    )
    await escalations.start(unit, deps, alarm)


def _what(finding: Finding) -> str:
    return _SAID[finding.code] + (f" ({finding.what})" if finding.what else "")


async def leave_watch(unit: UnitOfWork, session_id: str) -> None:
    """The session's end event came: its place is forgotten, and nobody misses its stamps."""
    now = unit.clock.system_now()
    change = {"$unset": {f"sessions.{session_id}": ""}, "$set": {f"ended.{session_id}": now}}
    await unit.collection(WATCH).update({"_id": unit.scope.clinic_id}, change)
    await unit.collection(SESSIONS).delete({"_id": session_id})


async def report_unreadable(unit: UnitOfWork, deps: Deps, letter: Document) -> None:
    """A record of the alarm lane that cannot be read may be an alarm: people look."""
    cause = f"unreadable:{letter['_id']}"
    await report(unit, deps, Finding("unreadable_alarm", cause, letter["at"], what=letter["code"]))
    await unit.collection(DEAD_LETTERS).update({"_id": letter["_id"]}, {"$set": {"paged_at": unit.clock.system_now()}})
    await add_task(unit, "unreadable_event", f"dead-letter/{letter['topic']}", cause, letter["code"])
