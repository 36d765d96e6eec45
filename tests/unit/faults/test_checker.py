"""The instrument itself: silent on a good run, and red for each thing that may go wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.history import Command, Episode, Fault, History, Observed

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = NOW.timestamp()
EVENT = "org.stillwater.intake.InquiryReceived.v1"


def history(**changed: Any) -> History:
    commands = [Command("k1", "a@example.org", "i1")]
    episodes = [Episode("room-1", "s1", "59408-5", AT, AT)]
    return replace(History(commands, episodes), **changed)


def page(room: str = "room-1", key: str = "p1", after_s: float = 0.3, **body: Any) -> dict[str, Any]:
    at = (NOW + timedelta(seconds=after_s)).isoformat()
    return {"at": at, "idempotency_key": key, "body": {"room": room, "signs": [{"sign": "59408-5"}], **body}}


def record(event_id: str = "e1", sequence: str = "0000000001.0001") -> dict[str, Any]:
    return {"id": event_id, "type": EVENT, "topic": "t", "source": "/inquiry/i1", "sequence": sequence}


def observed(**changed: Any) -> Observed:
    good = Observed(
        inquiries=[{"_id": "i1"}],
        messages=[{"subject_id": "i1", "template": "inquiry_received", "state": "delivered"}],
        alarms=[{"_id": "a1", "session_id": "s1", "sign": "59408-5", "rule": "spo2_collapse"}],
        escalations=[{"alarm_id": "a1"}],
        dead_letters=[],
        outbox=[{"_id": "e1", "state": "sent", "aggregate": "inquiry/i1"}],
        inbox=["c|stillwater.notifications|/inquiry/i1|e1"],
        records=[record()],
        mails=[{"to": ["a@example.org"], "message_id": "<m1>"}],
        pages=[page()],
    )
    return replace(good, **changed)


def names(given: History, seen: Observed) -> set[str]:
    return {violation.check for violation in check(given, seen)}


def test_a_good_run_is_silent() -> None:
    assert check(history(), observed()) == []


@pytest.mark.parametrize(
    ("changed", "red"),
    [
        ({"inquiries": [], "messages": []}, "acknowledged_once"),
        ({"inquiries": [{"_id": "i1"}, {"_id": "i2"}]}, "nothing_unasked"),
        ({"messages": []}, "effect_once"),
        ({"messages": [{"subject_id": "i1", "template": "inquiry_received"}] * 2}, "effect_once"),
        ({"messages": [{"subject_id": "i9", "template": "inquiry_received"}]}, "nothing_unasked"),
        ({"mails": []}, "mail_delivered"),
        ({"mails": [{"to": ["a@example.org"], "message_id": f"<m{n}>"} for n in (1, 2)]}, "mail_once"),
        ({"alarms": [], "escalations": []}, "one_alarm"),
        ({"escalations": []}, "one_escalation"),
        ({"escalations": [{"alarm_id": "a1"}] * 2}, "one_escalation"),
        ({"pages": []}, "paged"),
        ({"pages": [page(after_s=1.5)]}, "paged_in_time"),
        ({"pages": [page(), page("room-9", "p2")]}, "page_has_breach"),
        ({"pages": [page(), page(key="p2", signs=[], kind="monitoring")]}, "page_has_cause"),
        ({"pages": [page(), page()]}, "repeat_has_cause"),
        ({"outbox": [{"_id": "e1", "state": "pending", "aggregate": "inquiry/i1"}]}, "outbox_empty"),
        ({"records": []}, "sent_is_there"),
        ({"records": [record(sequence="0000000002.0001"), record("e0")]}, "in_order"),
        ({"inbox": []}, "handled"),
    ],
)
def test_each_check_turns_red(changed: dict[str, Any], red: str) -> None:
    assert red in names(history(), observed(**changed))


def test_a_fault_excuses_what_it_may_and_not_more() -> None:
    fault = Fault("kill", AT - 1, AT + 2)
    excused = history(faults=[fault])
    assert check(excused, observed(pages=[page(after_s=20), page(after_s=20)])) == []
    assert names(excused, observed(pages=[page(after_s=40)])) == {"paged_in_time"}
    assert names(excused, observed(messages=[])) == {"effect_once"}


def test_what_was_never_acknowledged_may_be_missing() -> None:
    commands, episodes = [Command("k1", "a@example.org")], [Episode("room-1", "s1", "59408-5", AT)]
    silent = observed(inquiries=[], messages=[], mails=[], alarms=[], escalations=[], pages=[])
    assert check(History(commands, episodes), silent) == []
