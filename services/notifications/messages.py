"""Pure: what a message says. Pages name room, chair, sign and value; never a name or a label."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from shared.protocols import Protocol

SIGN_NAMES = {
    "8480-6": "systolic pressure",
    "8462-4": "diastolic pressure",
    "8867-4": "heart rate",
    "59408-5": "SpO2",
    "9279-1": "respiratory rate",
}


class Template(Protocol):
    subject: str
    text: str


class MessageTexts(Protocol):
    """protocols/messages.yaml."""

    version: str
    templates: Mapping[str, Template]


def local_time(moment: datetime, time_zone: str) -> str:
    return moment.astimezone(ZoneInfo(time_zone)).strftime("%A, %d %B %Y at %H:%M (%Z)")


def compose(
    template: Template, facts: Mapping[str, str], sender: str, to: str, message_id: str, calendar: bytes | None
) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, template.subject
    message["Message-ID"] = message_id
    message.set_content(template.text.format(**facts))
    if calendar:
        message.add_attachment(
            calendar.decode(), subtype="calendar", filename="appointment.ics", params={"method": "PUBLISH"}
        )
    return message


def calendar_file(appointment_id: str, start: datetime, end: datetime, now: datetime) -> bytes:
    """RFC 5545, one event; the appointment's id is its UID, so that a change replaces it."""
    calendar, event = Calendar(), Event()
    calendar.add("prodid", "-//Stillwater//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    event.add("uid", f"{appointment_id}@stillwater")
    event.add("dtstamp", now)
    event.add("dtstart", start)
    event.add("dtend", end)
    event.add("summary", "Clinic appointment")
    calendar.add_component(event)
    return bytes(calendar.to_ical())


def page_text(
    room: str,
    chair: str,
    signs: Sequence[Mapping[str, object]],
    priority: str,
    raised_at: datetime,
    now: datetime,
    old_s: float,
) -> str:
    values = ", ".join(f"{SIGN_NAMES.get(str(s['sign']), s['sign'])} {s['value']:g} {s['unit']}" for s in signs)
    late = " (raised more than 15 minutes ago)" if now - raised_at > timedelta(seconds=old_s) else ""
    return f"{priority.upper()} alarm{late}: {room}, chair {chair}: {values}"
