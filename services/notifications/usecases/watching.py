"""The watch over the watchers: beats in, pages out when they fall silent or say that the store is gone."""

from services.notifications.store import DEAD_LETTERS, SESSIONS, WATCH
from services.notifications.usecases import directory, escalations
from services.notifications.usecases.deps import Deps
from services.notifications.usecases.escalations import Alarm
from services.notifications.usecases.paging import page_once
from services.notifications.usecases.tasks import add_task
from services.notifications.watch import Finding, lasting, observe
from shared.events.monitoring import EvaluatorBeat
from shared.ids import derived_id
from shared.persistence.mongo import Document, UnitOfWork

_ON_CALL = ("nurse", "prescriber")
_SAID = {
    "monitoring_silent": "monitoring of this clinic is not heard, look at the board and at the monitors",
    "session_not_evaluated": "this session is not being evaluated, look at the monitor",
    "store_gone": "monitoring cannot record, look at the board and at the monitors",
    "alarms_not_sent": "alarms are recorded and not sent, look at the board",
    "unrecorded_alarm": "alarm not recorded, look at the board",
    "unreadable_alarm": "unreadable alarm, look at the board",
}


async def note_beat(unit: UnitOfWork, deps: Deps, beat: EvaluatorBeat) -> None:
    """Keep the newest stamps; page at once what the beat itself reports."""
    now, watch = unit.clock.system_now(), unit.collection(WATCH)
    stamps = [(session.session_id, session.last_evaluated_at) for session in beat.sessions]
    before = await watch.find_one({"_id": unit.scope.clinic_id})
    if before and before.get("silent"):
        await escalations.clear(unit, deps, before["silent"], None, unit.clock.clinical_now())
    after = observe(before, sessions=stamps, ended=beat.ended, now=now)
    told = {"store_gone": beat.store == "gone", "alarms_not_sent": beat.unsent_since is not None}
    known = (before or {}).get("troubles", {})
    troubles = {code: lasting(known.get(code), there, now) for code, there in told.items()}
    await watch.put({"_id": unit.scope.clinic_id, "schema_version": 1, **after, "troubles": troubles})
    for code, trouble in troubles.items():
        if told[code] and trouble:
            await report(unit, deps, Finding(code, f"{code}:{trouble['since'].isoformat()}", trouble["since"]))
    for alarm in beat.unrecorded:
        cause = f"unrecorded:{alarm.session_id}:{alarm.rule}:{alarm.since.isoformat()}"
        await report(unit, deps, Finding("unrecorded_alarm", cause, alarm.since, alarm.session_id, alarm.rule))


async def report(unit: UnitOfWork, deps: Deps, finding: Finding) -> None:
    """Page the clinic's nurses and prescriber on call, once per cause; monitoring's silence escalates like a high alarm."""
    place = (
        await directory.session_place(unit, finding.session_id) if finding.session_id else {"room": None, "chair": None}
    )
    what = _SAID[finding.code] + (f" ({finding.what})" if finding.what else "")
    if finding.code == "monitoring_silent":
        await _escalate(unit, deps, finding, what)
        return
    facts = {"kind": "monitoring", "what": what, "code": finding.code, "room": place["room"], "chair": place["chair"]}
    await page_once(unit, deps, finding.cause, _ON_CALL, facts, unit.clock.clinical_now())


async def _escalate(unit: UnitOfWork, deps: Deps, finding: Finding, what: str) -> None:
    """Until somebody accepts or a beat is heard again; one escalation per clinic and silence."""
    alarm_id = derived_id(finding.cause)
    alarm = Alarm(alarm_id, None, None, "high", unit.clock.clinical_now(), kind="monitoring", what=what)
    await escalations.start(unit, deps, alarm)
    await unit.collection(WATCH).update({"_id": unit.scope.clinic_id}, {"$set": {"silent": alarm_id}})


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
