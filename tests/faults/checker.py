"""Pure: a history and what was observed -> violations; here the commands, their effects, and the way between."""

import importlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

from shared.messaging.topics import SERVICES, group_for
from tests.faults.alarms import check_accepted, check_alarms, check_pages, check_repeats
from tests.faults.history import History, Observed, Visit
from tests.faults.violation import Violation
from tests.faults.vitals import check_silence, check_vitals

ANSWER_SECONDS = 5.0


@cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """By event type: the consumer groups that handle it."""
    found: dict[str, list[str]] = defaultdict(list)
    for service in SERVICES:
        module = importlib.import_module(f"services.{service}.handlers")
        for name, lane in (("EVENT_HANDLERS", "bulk"), ("ALARM_HANDLERS", "alarm")):
            for event in getattr(module, name, {}):
                found[event.event_type()].append(group_for(service, lane))
    return {name: tuple(rows) for name, rows in found.items()}


def check(history: History, seen: Observed) -> list[Violation]:
    """Everything that is wrong; empty when the promises were kept."""
    checks = (
        _commands(history, seen),
        _nothing_unasked(history, seen),
        _mails(history, seen),
        _visits(history, seen),
        _answers(history),
        check_vitals(history, seen),
        check_silence(history, seen),
        check_alarms(history, seen),
        check_accepted(history, seen),
        check_pages(history, seen),
        check_repeats(history, seen),
        _outbox(seen),
        _topics(seen),
        _inbox(seen),
        _letters(seen),
        _left_over(seen),
    )
    return [violation for found in checks for violation in found]


def _commands(history: History, seen: Observed) -> Iterator[Violation]:
    """Acknowledged: there once, and its effect downstream there once."""
    made = Counter(row["_id"] for row in seen.inquiries)
    told = _told(seen)
    for command in history.commands:
        name = command.acknowledged_id
        if name is None:
            continue
        if made[name] != 1:
            yield Violation("acknowledged_once", f"inquiry {name} is there {made[name]} times")
        if told[name, "inquiry_received"] != 1:
            yield Violation("effect_once", f"inquiry {name} has {told[name, 'inquiry_received']} messages")


def _told(seen: Observed) -> Counter[tuple[str, str]]:
    return Counter((row["subject_id"], row["template"]) for row in seen.messages if row.get("subject_id"))


def _nothing_unasked(history: History, seen: Observed) -> Iterator[Violation]:
    if len(seen.inquiries) > len(history.commands):
        extra = len(seen.inquiries) - len(history.commands)
        yield Violation("nothing_unasked", f"{extra} inquiries more than were sent")
    booked = [row for row in seen.appointments if row["kind"] == "dosing"]
    if len(booked) > len(history.visits):
        yield Violation("nothing_unasked", f"{len(booked)} appointments for {len(history.visits)} visits")
    known = {row["_id"] for row in seen.inquiries}
    for row in seen.messages:
        if row["template"] == "inquiry_received" and row["subject_id"] not in known:
            yield Violation("nothing_unasked", f"message for an unknown inquiry {row['subject_id']}")


def _mails(history: History, seen: Observed) -> Iterator[Violation]:
    """At least one mail per acknowledged command; several only under the same Message-ID."""
    by_address: dict[str, set[str]] = defaultdict(set)
    for mail in seen.mails:
        by_address[mail["to"][0]].add(mail["message_id"])
    for command in history.commands:
        mails = by_address[command.email]
        if command.acknowledged_id and not mails:
            yield Violation("mail_delivered", f"no mail for inquiry {command.acknowledged_id}")
        if len(mails) > 1:
            yield Violation("mail_once", f"two mails with different ids for inquiry {command.acknowledged_id}")


def _visits(history: History, seen: Observed) -> Iterator[Violation]:
    """One session of each booking; of each completed session one count in its plan and one integration that follows."""
    told, plans = _told(seen), {row["_id"]: row for row in seen.plans}
    opened = Counter(row["appointment_id"] for row in seen.sessions)
    follows = Counter(row["follows_session"] for row in seen.appointments)
    for visit in history.visits:
        counts = {}
        if visit.appointment_id:
            counts["session_once"] = opened[visit.appointment_id]
            counts["booking_told_once"] = told[str(visit.patient_id), "dosing_booked"]
        if visit.completed:
            counts["integration_once"] = follows[visit.session_id]
            counts["integration_told_once"] = told[str(visit.patient_id), "appointment_booked"]
            counts["counted_once"] = plans.get(str(visit.plan_id), {}).get("session_ids", []).count(visit.session_id)
        yield from (_counted(visit, name, number) for name, number in counts.items() if number != 1)


def _counted(visit: Visit, name: str, number: int) -> Violation:
    return Violation(name, f"the visit of session {visit.session_id} has {number}")


def _answers(history: History) -> Iterator[Violation]:
    """Nothing is refused outright; while nothing but Kafka is away, every request is answered, and soon."""
    for text in history.broken:
        yield Violation("done", text)
    for asked in history.asked:
        names = history.during(asked.began, asked.ended)
        if not names or not all(name.startswith("kafka") for name in names):
            continue
        if asked.status == 0 or asked.status >= 500 or asked.ended - asked.began > ANSWER_SECONDS:
            took = f"{asked.status} after {asked.ended - asked.began:.1f} s"
            yield Violation("answers_without_kafka", f"{asked.service}{asked.path} during {names}: {took}")


def _outbox(seen: Observed) -> Iterator[Violation]:
    for row in seen.outbox:
        if row["state"] not in ("sent", "dropped"):
            yield Violation("outbox_empty", f"row {row['_id']} of {row['aggregate']} is {row['state']}")


def _topics(seen: Observed) -> Iterator[Violation]:
    """Every sent row is on its topic, and an aggregate's first appearances are in the order of their sequences."""
    present = {record["id"] for record in seen.records}
    for row in seen.outbox:
        if row["state"] == "sent" and row["_id"] not in present:
            yield Violation("sent_is_there", f"row {row['_id']} is marked sent and is on no topic")
    last: dict[tuple[str, str], str] = {}
    known: set[str] = set()
    for record in seen.records:
        if record["id"] in known:
            continue
        known.add(record["id"])
        place = (record["topic"], record["source"])
        before = last.get(place, "")
        if record["sequence"] <= before:
            yield Violation("in_order", f"{record['source']}: {record['sequence']} after {before}")
        last[place] = record["sequence"]


def _inbox(seen: Observed) -> Iterator[Violation]:
    """Each event left its mark in every group that handles it, once (the mark is unique by its key)."""
    marks = {(mark.split("|")[1], mark.rpartition("|")[2]) for mark in seen.inbox}
    for record in {row["id"]: row for row in seen.records}.values():
        for group in groups().get(record["type"], ()):
            if (group, record["id"]) not in marks:
                yield Violation("handled", f"event {record['id']} of {record['source']} left no mark in {group}")


def _letters(seen: Observed) -> Iterator[Violation]:
    """Nothing of ours is refused: what was put into a topic by hand names no event."""
    for letter in seen.dead_letters:
        if letter["event_id"]:
            yield Violation("refused", f"event {letter['event_id']} ({letter['code']}) of {letter['topic']}")


def _left_over(seen: Observed) -> Iterator[Violation]:
    """Messages that are still on their way."""
    for row in seen.messages:
        if row["state"] in ("pending", "waiting"):
            yield Violation("delivered", f"message {row['_id']} ({row['template']}) is {row['state']}")
