"""What is said of each event, and who consumes it, read from the tables in the services' handlers."""

import importlib
from dataclasses import dataclass

from shared.events.envelope import Event, Lane
from shared.messaging.topics import BEATS, SERVICES, group_for, topic_for

_TABLES: dict[str, Lane] = {"EVENT_HANDLERS": "bulk", "ALARM_HANDLERS": "alarm"}


@dataclass(frozen=True)
class Consumption:
    """One service reads one event in one group; the beats are read beside the tables and without a group (ADR 4)."""

    service: str
    event: type[Event]
    group: str | None
    handler: str


def consumptions(events: tuple[type[Event], ...]) -> list[Consumption]:
    """In the order of the events, then of the services."""
    found = []
    for service in SERVICES:
        handlers = importlib.import_module(f"services.{service}.handlers")
        for table, lane in _TABLES.items():
            for event, handler in getattr(handlers, table, {}).items():
                found.append(Consumption(service, event, group_for(service, lane), handler.__name__))
    beats = [event for event in events if topic_for(event) is BEATS]
    found += [Consumption(reader, event, None, "") for event in beats for reader in BEATS.readers]
    return sorted(found, key=lambda one: (events.index(one.event), SERVICES.index(one.service)))


def about(event: type[Event]) -> str:
    """The first line of the event's docstring, or of the common event that it is; empty when nothing is said."""
    told = [one.__dict__.get("__doc__") for one in event.__mro__[: event.__mro__.index(Event)]]
    first = next((doc for doc in told if doc and doc != "See common."), "")
    return first.strip().partition("\n")[0]
