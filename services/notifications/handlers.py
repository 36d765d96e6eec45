"""Events and timers that notifications reacts to. The alarm lane calls no provider and waits for nobody."""

from collections.abc import Mapping
from datetime import datetime

from cryptography.exceptions import InvalidTag

from services.notifications.messages import alarm_kind
from services.notifications.usecases import contacts, directory, escalations, messaging, paging, tasks, watching
from services.notifications.usecases.escalations import Alarm
from shared.events import common, intake, monitoring, notifications, scheduling
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Reject, Skip
from shared.persistence.erased import mark_erased
from shared.persistence.mongo import Document
from shared.persistence.timers import TimerContext, TimerHandler

_SESSION_OVER = frozenset({"discharged", "left", "completed", "aborted", "voided"})

# Contacts


async def on_contact(context: EventContext, record: intake.ContactRecord | None) -> Outcome:
    """A record without a value is the tombstone of an erased subject."""
    if record is None:
        await contacts.forget_subject(context.unit, context.deps, context.envelope.partition_key)
        return Done()
    try:
        known = await contacts.know_contact(context.unit, context.deps, record)
    except (KeyError, InvalidTag, ValueError):
        return Reject("contact_undecryptable")
    return Done() if known else Skip("older_or_erased")


async def on_inquiry_erased(context: EventContext, event: intake.InquiryErased) -> Outcome:
    await contacts.forget_subject(context.unit, context.deps, event.inquiry_id)
    return Done()


async def on_patient_erased(context: EventContext, event: intake.PatientErased) -> Outcome:
    await mark_erased(context.unit, event.patient_id)
    await contacts.forget_subject(context.unit, context.deps, event.patient_id)
    return Done()


# Messages to patients


async def _tell(context: EventContext, template: str, subject_id: str, facts: Document) -> Outcome:
    told = await messaging.tell(context.unit, context.deps, template, subject_id, context.envelope.id, facts)
    return Done() if told else Skip("told_or_erased")


async def on_inquiry(context: EventContext, event: intake.InquiryReceived) -> Outcome:
    return await _tell(context, "inquiry_received", event.inquiry_id, {})


async def _on_appointment(
    context: EventContext, event: scheduling.AppointmentBooked, template: str, method: str
) -> Outcome:
    """Each change is told once, with a calendar file whose SEQUENCE is the appointment's version."""
    version = context.envelope.sequence
    fields = {"start": event.start, "end": event.end, "time_zone": event.time_zone, "cancelled": method == "CANCEL"}
    if not await directory.know_appointment(context.unit, event.appointment_id, version, fields):
        return Skip("older")
    if event.start < context.unit.clock.clinical_now():
        return Skip("too_late")
    sequence = max(int(version.partition(".")[0] or 1) - 1, 0)
    facts = {"appointment_id": event.appointment_id, "sequence": sequence, "method": method}
    facts |= {name: fields[name] for name in ("start", "end", "time_zone")}
    return await _tell(context, template, event.patient_id, facts)


async def on_booked(context: EventContext, event: scheduling.AppointmentBooked) -> Outcome:
    template = "dosing_booked" if event.kind == "dosing" else "appointment_booked"
    return await _on_appointment(context, event, template, "REQUEST")


async def on_rescheduled(context: EventContext, event: scheduling.AppointmentRescheduled) -> Outcome:
    return await _on_appointment(context, event, "appointment_moved", "REQUEST")


async def on_cancelled(context: EventContext, event: scheduling.AppointmentCancelled) -> Outcome:
    return await _on_appointment(context, event, "appointment_cancelled", "CANCEL")


async def on_appointment_state(context: EventContext, event: scheduling.AppointmentState) -> Outcome:
    """Republished: known again, and nobody is told."""
    off = event.state in ("cancelled", "no_show")
    fields = {"start": event.start, "end": event.end, "time_zone": event.time_zone, "cancelled": off}
    version = context.envelope.sequence
    known = await directory.know_appointment(context.unit, event.appointment_id, version, fields)
    return Done() if known else Skip("older")


async def on_reminder(context: EventContext, event: scheduling.ReminderDue) -> Outcome:
    """Never for an appointment that has begun, was cancelled, or is at another time by now."""
    known = await directory.appointment(context.unit, event.appointment_id)
    if event.start < context.unit.clock.clinical_now():
        return Skip("too_late")
    if known and (known["cancelled"] or known["start"] != event.start):
        return Skip("cancelled_or_moved")
    return await _tell(
        context, "reminder", event.patient_id, {"start": event.start, "time_zone": (known or {}).get("time_zone")}
    )


async def on_discharged(context: EventContext, event: monitoring.PatientDischarged) -> Outcome:
    """Whoever left unseen is looked for, beside the message."""
    if event.disposition == "left_unseen":
        await tasks.add_task(context.unit, "left_unseen", f"session/{event.session_id}", event.session_id)
    if event.disposition in ("died", "transferred"):
        return Skip("no_aftercare")
    return await _tell(context, "aftercare", event.patient_id, {})


# Work for staff and what they need to know


async def on_completed(context: EventContext, event: monitoring.SessionCompleted) -> Outcome:
    await watching.leave_watch(context.unit, event.session_id)
    if event.outcome_code == "aborted":
        await tasks.add_task(context.unit, "session_aborted", f"session/{event.session_id}", event.session_id)
    return Done()


async def on_course_held(context: EventContext, event: scheduling.CourseHeld) -> Outcome:
    await tasks.add_task(context.unit, "course_held", f"plan/{event.plan_id}", context.envelope.id, event.reason_code)
    return Done()


async def on_staff_changed(context: EventContext, event: scheduling.StaffChanged) -> Outcome:
    known = await directory.know_staff(context.unit, event.staff_id, event.roles, context.envelope.sequence)
    return Done() if known else Skip("older")


async def _place(
    context: EventContext, event: monitoring.SessionCheckedIn | monitoring.SessionState, room: str, chair: str
) -> Outcome:
    staff = [person.model_dump() for person in event.responsible_staff]
    version, told_at = context.envelope.sequence, context.envelope.time
    known = await directory.know_session(context.unit, event.session_id, room, chair, staff, version, told_at)
    return Done() if known else Skip("older")


async def on_assigned(context: EventContext, event: monitoring.SessionCheckedIn) -> Outcome:
    return await _place(context, event, event.room, event.chair)


async def on_session_state(context: EventContext, event: monitoring.SessionState) -> Outcome:
    """Republished: the place of a session that is going on; one that has ended has none."""
    if event.room is None or event.chair is None or event.state in _SESSION_OVER:
        return Skip("no_place")
    return await _place(context, event, event.room, event.chair)


async def on_trouble(context: EventContext, event: common.ServiceTroubleRaised) -> Outcome:
    what = f"{event.SERVICE}: {event.code} ({event.count})"
    cause = f"trouble:{event.SERVICE}:{event.code}:{event.since.isoformat()}"
    facts = {"kind": "service trouble", "what": what, "code": event.code}
    await paging.page_once(context.unit, context.deps, cause, ("operator",), facts, event.since)
    return Done()


# The alarm lane


async def on_alarm(context: EventContext, event: monitoring.VitalsAbnormal) -> Outcome:
    alarm = Alarm(
        event.alarm_id,
        event.session_id,
        event.patient_id,
        event.priority,
        event.raised_at,
        kind=alarm_kind(event.category),
        what=event.rule,
        room=event.room,
        chair=event.chair,
        signs=[sign.model_dump() for sign in event.signs],
        responsible=[person.model_dump() for person in event.responsible_staff],
        placed_at=context.envelope.time,
    )
    return Done() if await escalations.start(context.unit, context.deps, alarm) else Skip("escalation_known")


async def on_signal_lost(context: EventContext, event: monitoring.SignalLost) -> Outcome:
    place = await directory.session_place(context.unit, event.session_id)
    alarm = Alarm(
        event.alarm_id,
        event.session_id,
        event.patient_id,
        event.priority,
        context.received_at,
        kind="signal lost",
        what=event.source,
        room=place["room"],
        chair=place["chair"],
        responsible=place["responsible"],
        placed_at=place.get("told_at"),
    )
    return Done() if await escalations.start(context.unit, context.deps, alarm) else Skip("escalation_known")


async def on_content_refused(context: EventContext, event: monitoring.AlarmContentRefused) -> Outcome:
    """The broker took the page but not what it says; where it was the alarm itself, this is its alarm."""
    place = await directory.session_place(context.unit, event.session_id)
    alarm = Alarm(
        event.aggregate.rpartition("/")[2],
        event.session_id,
        event.patient_id,
        "high",
        context.received_at,
        what="content refused, look at the board",
        room=place["room"],
        chair=place["chair"],
        responsible=place["responsible"],
        placed_at=place.get("told_at"),
    )
    return Done() if await escalations.start(context.unit, context.deps, alarm) else Skip("escalation_known")


async def on_acknowledged(context: EventContext, event: monitoring.AlarmAcknowledged) -> Outcome:
    stopped = await escalations.accept(context.unit, context.deps, event.alarm_id, event.patient_id, event.at)
    return Done() if stopped else Skip("not_paging")


async def on_attended(context: EventContext, event: monitoring.AlarmAttended) -> Outcome:
    await escalations.attend(context.unit, context.deps, event.alarm_id, event.patient_id, event.at)
    return Done()


async def on_cleared(context: EventContext, event: monitoring.AlarmCleared) -> Outcome:
    await escalations.clear(context.unit, context.deps, event.alarm_id, event.patient_id, event.at)
    return Done()


async def on_signal_restored(context: EventContext, event: monitoring.SignalRestored) -> Outcome:
    await escalations.clear(context.unit, context.deps, event.alarm_id, event.patient_id, event.last_seen_at)
    return Done()


async def on_renewed(context: EventContext, event: monitoring.AlarmRenewed) -> Outcome:
    signs = [sign.model_dump() for sign in event.signs]
    alarm = Alarm(event.alarm_id, None, event.patient_id, "high", event.at, signs=signs, known=False)
    await escalations.renew(context.unit, context.deps, alarm)
    return Done()


async def on_escalated(context: EventContext, event: monitoring.AlarmEscalated) -> Outcome:
    alarm = Alarm(event.alarm_id, None, event.patient_id, event.priority, event.at, known=False)
    await escalations.raise_priority(context.unit, context.deps, alarm)
    return Done()


async def on_emergency(context: EventContext, event: monitoring.EmergencyCalled) -> Outcome:
    facts = {"kind": "EMERGENCY", "what": event.code, "room": event.room, "chair": event.chair}
    cause = f"emergency:{event.session_id}:{event.at.isoformat()}"
    await paging.page_everybody(context.unit, context.deps, cause, facts, event.at)
    return Done()


async def on_risk(context: EventContext, event: intake.SuicideRiskFlagged) -> Outcome:
    """High, or a level that this code does not know: whoever is on call now. The page names nobody, the work list does."""
    cause = f"risk:{event.patient_id}:{event.at.isoformat()}"
    return await _risk(context, event.patient_id, cause, event.level, event.at)


async def on_risk_refused(context: EventContext, event: intake.AlarmContentRefused) -> Outcome:
    """The broker took the event but not what it says: it is read as the worst."""
    patient_id = event.aggregate.rpartition("/")[2]
    return await _risk(context, patient_id, context.envelope.id, "content_refused", context.received_at)


async def _risk(context: EventContext, patient_id: str, cause: str, level: str, at: datetime) -> Outcome:
    await tasks.add_task(context.unit, "suicide_risk", f"patient/{patient_id}", cause, level)
    if level not in ("unassessed", "low", "moderate"):
        facts = {"kind": "suicide risk", "room": "work list", "what": "see this patient now", "code": level}
        await paging.page_once(context.unit, context.deps, cause, ("prescriber", "nurse"), facts, at)
    return Done()


# Timers


async def on_step_due(context: TimerContext) -> None:
    await escalations.step_due(context.unit, context.deps, context.payload)


async def on_not_attended(context: TimerContext) -> None:
    await escalations.not_attended(context.unit, context.deps, context.payload)


async def on_contact_deadline(context: TimerContext) -> None:
    await messaging.give_up_waiting(context.unit, context.payload["message_id"])


async def on_quiet_over(context: TimerContext) -> None:
    await messaging.end_quiet(context.unit, context.deps, context.payload["message_id"])


async def on_snooze_over(context: TimerContext) -> None:
    await tasks.wake_task(context.unit, context.payload["task_id"])


EVENT_HANDLERS: Handlers = {
    intake.ContactRecord: on_contact,
    intake.InquiryReceived: on_inquiry,
    intake.InquiryErased: on_inquiry_erased,
    intake.PatientErased: on_patient_erased,
    intake.ServiceTroubleRaised: on_trouble,
    scheduling.AppointmentBooked: on_booked,
    scheduling.AppointmentRescheduled: on_rescheduled,
    scheduling.AppointmentCancelled: on_cancelled,
    scheduling.AppointmentState: on_appointment_state,
    scheduling.ReminderDue: on_reminder,
    scheduling.CourseHeld: on_course_held,
    scheduling.StaffChanged: on_staff_changed,
    scheduling.StaffState: on_staff_changed,
    scheduling.ServiceTroubleRaised: on_trouble,
    monitoring.SessionCheckedIn: on_assigned,
    monitoring.SessionReassigned: on_assigned,
    monitoring.SessionState: on_session_state,
    monitoring.PatientDischarged: on_discharged,
    monitoring.SessionCompleted: on_completed,
    monitoring.ServiceTroubleRaised: on_trouble,
    notifications.ServiceTroubleRaised: on_trouble,
}
ALARM_HANDLERS: Handlers = {
    monitoring.VitalsAbnormal: on_alarm,
    monitoring.AlarmAcknowledged: on_acknowledged,
    monitoring.AlarmAttended: on_attended,
    monitoring.AlarmCleared: on_cleared,
    monitoring.AlarmEscalated: on_escalated,
    monitoring.AlarmRenewed: on_renewed,
    monitoring.SignalLost: on_signal_lost,
    monitoring.SignalRestored: on_signal_restored,
    monitoring.EmergencyCalled: on_emergency,
    monitoring.AlarmContentRefused: on_content_refused,
    intake.SuicideRiskFlagged: on_risk,
    intake.AlarmContentRefused: on_risk_refused,
}
TIMER_HANDLERS: Mapping[str, TimerHandler] = {
    "escalate": on_step_due,
    "not_attended": on_not_attended,
    "contact_deadline": on_contact_deadline,
    "quiet_over": on_quiet_over,
    "snooze_over": on_snooze_over,
}
