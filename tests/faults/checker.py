"""Pure: a history and what was observed -> violations. Each check has a name, so that a red one says what broke."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.faults.history import Fault, History, Observed

BOUND_SECONDS = 30.0
CALM_SECONDS = 1.0
SHADOW_SECONDS = 40.0
_GROUPS = {"org.stillwater.intake.InquiryReceived.v1": "stillwater.notifications"}


@dataclass(frozen=True)
class Violation:
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def check(history: History, seen: Observed) -> list[Violation]:
    """Everything that is wrong; empty when the promises were kept."""
    checks = (
        _commands(history, seen),
        _nothing_unasked(history, seen),
        _mails(history, seen),
        _episodes(history, seen),
        _pages(history, seen),
        _repeats(history, seen),
        _outbox(seen),
        _topics(seen),
        _inbox(seen),
    )
    return [violation for found in checks for violation in found]


def _commands(history: History, seen: Observed) -> Iterator[Violation]:
    """Acknowledged: there once, and its effect downstream there once."""
    made = Counter(row["_id"] for row in seen.inquiries)
    told = Counter(row["subject_id"] for row in seen.messages if row["template"] == "inquiry_received")
    for command in history.commands:
        name = command.acknowledged_id
        if name is None:
            continue
        if made[name] != 1:
            yield Violation("acknowledged_once", f"inquiry {name} is there {made[name]} times")
        if told[name] != 1:
            yield Violation("effect_once", f"inquiry {name} has {told[name]} messages")


def _nothing_unasked(history: History, seen: Observed) -> Iterator[Violation]:
    if len(seen.inquiries) > len(history.commands):
        extra = len(seen.inquiries) - len(history.commands)
        yield Violation("nothing_unasked", f"{extra} inquiries more than were sent")
    known = {row["_id"] for row in seen.inquiries}
    for row in seen.messages:
        if row["template"] == "inquiry_received" and row["subject_id"] not in known:
            yield Violation("nothing_unasked", f"message for an unknown inquiry {row['subject_id']}")


def _mails(history: History, seen: Observed) -> Iterator[Violation]:
    """At least one mail per acknowledged command; several only under the same Message-ID."""
    by_address: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for mail in seen.mails:
        by_address[mail["to"][0]].append(mail)
    for command in history.commands:
        mails = by_address[command.email]
        if command.acknowledged_id and not mails:
            yield Violation("mail_delivered", f"no mail for inquiry {command.acknowledged_id}")
        if len({mail["message_id"] for mail in mails}) > 1:
            yield Violation("mail_once", f"two mails with different ids for inquiry {command.acknowledged_id}")


def _episodes(history: History, seen: Observed) -> Iterator[Violation]:
    """Each acknowledged episode: one alarm, one escalation, a page within the bound of what happened meanwhile."""
    alarms = Counter((row["session_id"], row["sign"]) for row in seen.alarms if row["rule"].endswith("_collapse"))
    escalated = Counter(row["alarm_id"] for row in seen.escalations)
    for episode in history.episodes:
        if episode.acknowledged_at is None:
            continue
        number = alarms[(episode.session_id, episode.sign)]
        if number != 1:
            yield Violation("one_alarm", f"episode in {episode.room} has {number} alarms")
        yield from _paged(history, seen, episode.room, episode.sign, episode.acknowledged_at)
    for row in seen.alarms:
        if escalated[row["_id"]] != 1:
            yield Violation("one_escalation", f"alarm {row['_id']} has {escalated[row['_id']]} escalations")


def _paged(history: History, seen: Observed, room: str, sign: str, acknowledged_at: float) -> Iterator[Violation]:
    times = [_seconds(page["at"]) for page in seen.pages if _is_about(page, room, sign)]
    if not times:
        yield Violation("paged", f"nobody was paged for {room}")
        return
    late = min(times) - acknowledged_at
    bound = BOUND_SECONDS + sum(_overlap(fault, acknowledged_at, min(times)) for fault in history.faults)
    if not history.faulty(acknowledged_at - SHADOW_SECONDS, min(times)):
        bound = CALM_SECONDS
    if late > bound:
        yield Violation("paged_in_time", f"the page for {room} came after {late:.1f} s, bound {bound:.1f} s")


def _overlap(fault: Fault, begin: float, end: float) -> float:
    return max(min(fault.ended, end) - max(fault.began, begin), 0.0)


def _is_about(page: dict[str, Any], room: str, sign: str) -> bool:
    body = page["body"]
    return body.get("room") == room and any(item["sign"] == sign for item in body.get("signs", ()))


def _pages(history: History, seen: Observed) -> Iterator[Violation]:
    """A page about a sign has its breach in what was sent; every other page has a fault as its cause."""
    sent = {(episode.room, episode.sign) for episode in history.episodes}
    for page in seen.pages:
        body, at = page["body"], _seconds(page["at"])
        about = [(body.get("room"), item["sign"]) for item in body.get("signs", ())]
        if about and not set(about) <= sent:
            yield Violation("page_has_breach", f"a page about {about} that nobody measured")
        if not about and not history.faulty(at - 2 * SHADOW_SECONDS, at):
            yield Violation("page_has_cause", f"a page of kind {body.get('kind')} ({body.get('what')}) without a fault")


def _repeats(history: History, seen: Observed) -> Iterator[Violation]:
    """The same delivery twice is legal only where a fault fell between the attempt and its result."""
    times: dict[str, list[float]] = defaultdict(list)
    for page in seen.pages:
        times[page["idempotency_key"]].append(_seconds(page["at"]))
    for key, found in times.items():
        if len(found) > 1 and not history.faulty(min(found) - SHADOW_SECONDS, max(found)):
            yield Violation("repeat_has_cause", f"delivery {key} came {len(found)} times without a fault")


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
    last: dict[tuple[str, str], tuple[str, str]] = {}
    known: set[str] = set()
    for record in seen.records:
        if record["id"] in known:
            continue
        known.add(record["id"])
        place = (record["topic"], record["source"])
        before = last.get(place, ("", ""))
        if record["sequence"] <= before[0]:
            yield Violation("in_order", f"{record['source']}: {record['sequence']} after {before[0]}")
        last[place] = (record["sequence"], record["id"])


def _inbox(seen: Observed) -> Iterator[Violation]:
    """Each event of a handled type left its mark in the group that handles it, once (the mark is unique by its key)."""
    marks = {mark.rpartition("|")[2] for mark in seen.inbox}
    refused = {letter["event_id"] for letter in seen.dead_letters}
    for record in seen.records:
        if record["type"] in _GROUPS and record["id"] not in marks and record["id"] not in refused:
            yield Violation("handled", f"event {record['id']} of {record['source']} left no mark")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
