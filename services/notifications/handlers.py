"""Events and timers that notifications reacts to."""

from collections.abc import Mapping

from services.notifications import usecases
from shared.events.intake import ContactRecord, InquiryErased, InquiryReceived
from shared.events.monitoring import (
    AlarmAcknowledged,
    AlarmAttended,
    AlarmCleared,
    PatientDischarged,
    VitalsAbnormal,
)
from shared.events.scheduling import AppointmentBooked, ReminderDue
from shared.messaging.handling import EventContext, Handlers
from shared.messaging.outcomes import Done, Outcome, Skip
from shared.persistence.timers import TimerContext, TimerHandler


async def on_contact(context: EventContext, record: ContactRecord | None) -> Outcome:
    """A record without a value is the tombstone of an erased subject."""
    if record is None:
        await usecases.forget_contact(context.unit, context.deps, context.envelope.partition_key)
    else:
        await usecases.know_contact(context.unit, context.deps, record)
    return Done()


async def on_inquiry(context: EventContext, event: InquiryReceived) -> Outcome:
    await usecases.mail(context.unit, "inquiry_received", event.inquiry_id, context.envelope.id, {})
    return Done()


async def on_inquiry_erased(context: EventContext, event: InquiryErased) -> Outcome:
    await usecases.forget_contact(context.unit, context.deps, event.inquiry_id)
    return Done()


async def on_booked(context: EventContext, event: AppointmentBooked) -> Outcome:
    facts = event.model_dump(include={"appointment_id", "start", "end", "time_zone"})
    await usecases.mail(context.unit, "appointment_booked", event.patient_id, context.envelope.id, facts)
    return Done()


async def on_reminder(context: EventContext, event: ReminderDue) -> Outcome:
    if event.start < context.unit.clock.clinical_now():
        return Skip("too_late")
    facts = {"start": event.start, "time_zone": "America/New_York"}
    await usecases.mail(context.unit, "reminder", event.patient_id, context.envelope.id, facts)
    return Done()


async def on_discharged(context: EventContext, event: PatientDischarged) -> Outcome:
    if event.disposition != "escort":
        return Skip("other_way_out")
    await usecases.mail(context.unit, "aftercare", event.patient_id or "", context.envelope.id, {})
    return Done()


async def on_alarm(context: EventContext, event: VitalsAbnormal) -> Outcome:
    return Done() if await usecases.start(context.unit, context.deps, event) else Skip("escalation_known")


async def on_acknowledged(context: EventContext, event: AlarmAcknowledged) -> Outcome:
    await usecases.accept(context.unit, context.deps, event.alarm_id)
    return Done()


async def on_attended(context: EventContext, event: AlarmAttended) -> Outcome:
    await usecases.end(context.unit, event.alarm_id, "attended")
    return Done()


async def on_cleared(context: EventContext, event: AlarmCleared) -> Outcome:
    await usecases.end(context.unit, event.alarm_id, "cleared")
    return Done()


async def on_step_due(context: TimerContext) -> None:
    await usecases.take_step(context.unit, context.deps, context.payload["escalation_id"], context.payload["step"])


async def on_not_attended(context: TimerContext) -> None:
    await usecases.resume(context.unit, context.deps, context.payload["escalation_id"])


EVENT_HANDLERS: Handlers = {
    ContactRecord: on_contact,
    InquiryReceived: on_inquiry,
    InquiryErased: on_inquiry_erased,
    AppointmentBooked: on_booked,
    ReminderDue: on_reminder,
    PatientDischarged: on_discharged,
}
ALARM_HANDLERS: Handlers = {
    VitalsAbnormal: on_alarm,
    AlarmAcknowledged: on_acknowledged,
    AlarmAttended: on_attended,
    AlarmCleared: on_cleared,
}
TIMER_HANDLERS: Mapping[str, TimerHandler] = {
    "escalate": on_step_due,
    "not_attended": on_not_attended,
}
