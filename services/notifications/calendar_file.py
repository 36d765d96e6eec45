"""Pure: the calendar attachment (RFC 5545, 5546). A later change has the same UID and a higher SEQUENCE."""

from datetime import datetime
from typing import Literal

from icalendar import Calendar, Event, vCalAddress

Method = Literal["REQUEST", "CANCEL"]


def calendar_file(
    appointment_id: str,
    sequence: int,
    start: datetime,
    end: datetime,
    *,
    method: Method,
    organizer: str,
    attendee: str,
    now: datetime,
) -> str:
    """One event; its summary says nothing about the treatment."""
    calendar, event = Calendar(), Event()
    calendar.add("prodid", "-//Stillwater//notifications//EN")
    calendar.add("version", "2.0")
    calendar.add("method", method)
    event.add("uid", appointment_id)
    event.add("sequence", sequence)
    event.add("dtstamp", now)
    event.add("dtstart", start)
    event.add("dtend", end)
    event.add("summary", "Clinic appointment")
    event.add("status", "CANCELLED" if method == "CANCEL" else "CONFIRMED")
    event.add("organizer", vCalAddress(f"mailto:{organizer}"))
    guest = vCalAddress(f"mailto:{attendee}")
    guest.params["ROLE"], guest.params["PARTSTAT"] = "REQ-PARTICIPANT", "NEEDS-ACTION"
    event.add("attendee", guest)
    calendar.add_component(event)
    return bytes(calendar.to_ical()).decode()
