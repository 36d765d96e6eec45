"""The instrument itself: silent on a good run, and red for each thing that may go wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.history import Asked, Command, Fault, Heard, History, Observed, Reading, Visit

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = NOW.timestamp()
EVENT = "org.stillwater.intake.InquiryReceived.v1"
ACCEPTED = "org.stillwater.monitoring.AlarmAcknowledged.v1"
RENEWED = "org.stillwater.monitoring.AlarmRenewed.v1"
SPO2 = "59408-5"


def reading(value: float = 0, after_s: float = 0.0, *, acknowledged: bool = True) -> Reading:
    at = AT + after_s
    known_at, answers = (at, ["stored", "duplicate"]) if acknowledged else (None, [])
    return Reading("room-1", "s1", SPO2, value, at, known_at, sent_at=at, answers=answers)


def history(**changed: Any) -> History:
    visit = Visit("p1", "pl1", "ap1", "s2", completed=True)
    good = History([Command("k1", "a@example.org", "i1")], [reading()], [visit], shown=[("s1", SPO2, True)])
    good.links.add("a1")
    return replace(good, **changed)


def page(room: str = "room-1", key: str = "p1", after_s: float = 0.3, **body: Any) -> dict[str, Any]:
    at = (NOW + timedelta(seconds=after_s)).isoformat()
    whole = {"room": room, "alarm_id": "a1", "signs": [{"sign": SPO2, "value": 0}], **body}
    return {"at": at, "idempotency_key": key, "body": whole}


def mail(message_id: str = "<m1>", after_s: float = 0.3) -> dict[str, Any]:
    return {"to": ["a@example.org"], "message_id": message_id, "at": (NOW + timedelta(seconds=after_s)).isoformat()}


def record(event_id: str = "e1", sequence: str = "0000000001.0001") -> dict[str, Any]:
    return {"id": event_id, "type": EVENT, "topic": "t", "source": "/inquiry/i1", "sequence": sequence}


def accepted(event_id: str = "e2", name: str = ACCEPTED) -> dict[str, Any]:
    source = "/stillwater/monitoring/alarm/a1"
    return {"id": event_id, "type": name, "topic": "m", "source": source, "sequence": f"0000000002.{event_id}"}


def told(template: str, subject: str) -> dict[str, Any]:
    return {"subject_id": subject, "template": template, "state": "delivered"}


def row(value: float = 0, after_s: float = 0.0, **more: Any) -> dict[str, Any]:
    known = {"session_id": "s1", "sign": SPO2, "device": "manual", "value": value}
    return {**known, "taken_at": NOW + timedelta(seconds=after_s), **more}


def lost(device: str = "m1", after_s: float = 21) -> dict[str, Any]:
    raised_at = NOW + timedelta(seconds=after_s)
    return {"_id": "lost", "session_id": "s1", "rule": f"signal:{device}", "raised_at": raised_at}


ALARM = {"_id": "a1", "session_id": "s1", "rule": "spo2_collapse", "acknowledged_at": NOW, "category": "physiological"}
ALARM |= {"breach_since": NOW, "cleared_at": None}
INTEGRATION = {"_id": "ap2", "kind": "integration", "follows_session": "s2"}
DOSING = {"_id": "ap1", "kind": "dosing", "follows_session": None}
TOLD = [told("inquiry_received", "i1"), told("dosing_booked", "p1"), told("appointment_booked", "p1")]
INBOX = ["c|stillwater.notifications|/inquiry/i1|e1"]
INBOX += [f"c|stillwater.notifications.alarms|/stillwater/monitoring/alarm/a1|e{number}" for number in (2, 3, 4)]


def observed(**changed: Any) -> Observed:
    good = Observed(
        inquiries=[{"_id": "i1"}],
        messages=TOLD,
        alarms=[ALARM],
        escalations=[{"alarm_id": "a1"}],
        dead_letters=[],
        outbox=[{"_id": "e1", "state": "sent", "aggregate": "inquiry/i1"}],
        inbox=INBOX,
        records=[record(), accepted()],
        mails=[mail()],
        pages=[page()],
        plans=[{"_id": "pl1", "session_ids": ["s2"]}],
        appointments=[DOSING, INTEGRATION],
        sessions=[{"_id": "s2", "appointment_id": "ap1"}, {"_id": "s1", "appointment_id": None}],
        vitals=[row()],
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
        ({"messages": [*TOLD, told("inquiry_received", "i1")]}, "effect_once"),
        ({"messages": [*TOLD, told("inquiry_received", "i9")]}, "nothing_unasked"),
        ({"appointments": [DOSING, DOSING, INTEGRATION]}, "nothing_unasked"),
        ({"mails": []}, "mail_delivered"),
        ({"mails": [mail(), mail("<m2>")]}, "mail_once"),
        ({"sessions": []}, "session_once"),
        ({"sessions": [{"_id": name, "appointment_id": "ap1"} for name in ("s2", "s3")]}, "session_once"),
        ({"messages": [*TOLD, told("dosing_booked", "p1")]}, "booking_told_once"),
        ({"appointments": [DOSING]}, "integration_once"),
        ({"appointments": [DOSING, INTEGRATION, INTEGRATION]}, "integration_once"),
        ({"messages": TOLD[:2]}, "integration_told_once"),
        ({"plans": [{"_id": "pl1", "session_ids": []}]}, "counted_once"),
        ({"plans": [{"_id": "pl1", "session_ids": ["s2", "s2"]}]}, "counted_once"),
        ({"alarms": [], "escalations": []}, "one_alarm"),
        ({"alarms": [ALARM, ALARM | {"_id": "a2"}]}, "one_alarm"),
        ({"alarms": [ALARM, ALARM | {"_id": "a2", "rule": "hr_collapse"}]}, "alarm_has_breach"),
        ({"escalations": []}, "one_escalation"),
        ({"escalations": [{"alarm_id": "a1"}] * 2}, "one_escalation"),
        ({"alarms": [{**ALARM, "acknowledged_at": None}]}, "accepted_back"),
        ({"records": [record()]}, "accepted_once"),
        ({"records": [record(), accepted(), accepted("e3")]}, "accepted_once"),
        ({"records": [record(), accepted(name=RENEWED)]}, "accepted_once"),
        ({"pages": []}, "paged"),
        ({"pages": [page(after_s=3.5)]}, "paged_in_time"),
        ({"pages": [page(), page("room-9", "p2")]}, "page_has_breach"),
        ({"pages": [page(), page(key="p2", signs=[{"sign": SPO2, "value": 1}])]}, "page_has_breach"),
        ({"pages": [page(), page(key="p2", after_s=-1)]}, "page_has_breach"),
        ({"pages": [page(), page(key="p2", signs=[], kind="monitoring")]}, "page_has_cause"),
        ({"pages": [page(), page()]}, "repeat_has_cause"),
        ({"mails": [mail(), mail()]}, "repeat_has_cause"),
        ({"outbox": [{"_id": "e1", "state": "pending", "aggregate": "inquiry/i1"}]}, "outbox_empty"),
        ({"records": []}, "sent_is_there"),
        ({"records": [record(sequence="0000000002.0001"), record("e0")]}, "in_order"),
        ({"messages": [*TOLD, told("aftercare", "p1") | {"_id": "m9", "state": "waiting"}]}, "delivered"),
        ({"dead_letters": [{"event_id": "e1", "code": "malformed", "topic": "t"}]}, "refused"),
        ({"vitals": []}, "reading_once"),
        ({"vitals": [row(), row()]}, "reading_once"),
        ({"vitals": [row(), row(value=1)]}, "reading_as_sent"),
        ({"vitals": [row(), row(98, after_s=1)]}, "reading_sent"),
        ({"vitals": [row(clock_off_s=20)]}, "clock_right"),
        ({"inbox": INBOX[1:]}, "handled"),
        ({"inbox": INBOX[:1]}, "handled"),
    ],
)
def test_each_check_turns_red(changed: dict[str, Any], red: str) -> None:
    assert red in names(history(), observed(**changed))


def test_an_alarm_that_was_renewed_is_accepted_once_more() -> None:
    told = [record(), accepted(), accepted("e3", RENEWED), accepted("e4")]
    assert check(history(), observed(records=told)) == []


def test_a_milder_breach_after_the_graver_alarm_was_over_has_its_own() -> None:
    fall = [reading(0), reading(98, 5), *[reading(85, second) for second in range(100, 108)]]
    over = ALARM | {"cleared_at": NOW + timedelta(seconds=70)}
    own = ALARM | {"_id": "a2", "rule": "spo2_critical_low", "breach_since": NOW + timedelta(seconds=100)}

    def red(*alarms: dict[str, Any]) -> bool:
        return "one_of_both" in names(history(readings=fall), observed(alarms=list(alarms)))

    assert red(over)
    assert not red(ALARM)
    assert not red(over, own)


def test_an_alarm_that_the_board_did_not_show_is_red() -> None:
    assert names(history(shown=[("s1", SPO2, False)]), observed()) == {"shown_at_once"}


@pytest.mark.parametrize("answers", [["refused malformed"], ["stored", "stored"], ["quarantined below_bound"]])
def test_a_reading_that_is_not_taken_or_is_taken_twice_is_red(answers: list[str]) -> None:
    assert names(history(readings=[replace(reading(), answers=answers)]), observed()) == {"reading_answered"}


def test_what_could_not_be_done_is_red() -> None:
    assert names(history(broken=["POST /v1/sessions 500"]), observed()) == {"done"}


def test_a_monitor_that_fell_silent_was_told_of_and_no_other() -> None:
    heard = [Heard("s1", "m1", AT + second, AT + second + 0.1, known=True) for second in (9, 10, 25)]
    told = {"alarms": [ALARM, lost()], "pages": [page(), page(key="p2", signs=[], alarm_id="lost", after_s=21)]}
    assert check(history(heard=heard), observed(**told)) == []
    assert names(history(heard=heard), observed()) == {"silence_told"}
    assert names(history(heard=heard), observed(alarms=told["alarms"])) == {"silence_told"}
    assert names(history(heard=[*heard, replace(heard[0], began=AT + 15, ended=AT + 16)]), observed(**told)) == {
        "silent_was_silent"
    }


def test_a_fault_excuses_what_it_may_and_not_more() -> None:
    fault = Fault("kill", AT - 1, AT + 2)
    excused = history(faults=[fault])
    assert check(excused, observed(pages=[page(after_s=20), page(after_s=20)])) == []
    assert names(excused, observed(pages=[page(after_s=40)])) == {"paged_in_time"}
    assert "effect_once" in names(excused, observed(messages=[]))


def test_a_clock_that_jumps_ahead_hurries_alarms_and_makes_none_up() -> None:
    short = [reading(), reading(98, after_s=1)]
    jumps = history(faults=[Fault("clock jumps", AT - 1, AT + 2)], readings=short)
    hurried, invented = ALARM | {"_id": "a2", "rule": "spo2_warning_low"}, ALARM | {"_id": "a3", "rule": "hr_fall"}
    assert "alarm_has_breach" not in names(jumps, observed(alarms=[ALARM, hurried]))
    assert "alarm_has_breach" in names(jumps, observed(alarms=[ALARM, invented]))
    assert "alarm_has_breach" in names(history(readings=short), observed(alarms=[ALARM, hurried]))


def test_a_page_that_says_not_recorded_has_its_breach_too() -> None:
    excused = history(faults=[Fault("mongodb cut", AT - 1, AT + 2)])
    known = page(key="p2", signs=[], alarm_id=None, what="alarm not recorded (spo2_collapse)")
    assert check(excused, observed(pages=[page(), known])) == []
    unknown = page(key="p2", signs=[], alarm_id=None, what="alarm not recorded (hr_collapse)")
    assert names(excused, observed(pages=[page(), unknown])) == {"page_has_breach"}


@pytest.mark.parametrize(("sign", "found"), [("59408-5", set()), ("8867-4", {"page_has_breach"})])
def test_a_page_that_asks_to_confirm_has_a_value_that_is_not_sure(sign: str, found: set[str]) -> None:
    excused = history(faults=[Fault("mongodb cut", AT - 1, AT + 2)])
    asks = page(key="p2", signs=[], alarm_id=None, what=f"alarm not recorded (confirm:{sign})")
    assert names(excused, observed(pages=[page(), asks])) == found


@pytest.mark.parametrize(("status", "took_s", "red"), [(201, 1, False), (0, 1, True), (503, 1, True), (201, 9, True)])
def test_with_kafka_away_every_request_is_answered_soon(status: int, took_s: float, red: bool) -> None:
    asked = Asked("intake", "/v1/inquiries", AT, AT + took_s, status)
    away = history(faults=[Fault("kafka away", AT - 1, AT + 20)], asked=[asked])
    assert ("answers_without_kafka" in names(away, observed())) is red
    both = history(faults=[*away.faults, Fault("mongodb cut", AT - 1, AT + 20)], asked=[asked])
    assert "answers_without_kafka" not in names(both, observed())


def test_what_was_never_acknowledged_may_be_missing() -> None:
    asked = History([Command("k1", "a@example.org")], [reading(acknowledged=False)], [Visit()])
    silent = observed(
        inquiries=[], messages=[], mails=[], alarms=[], escalations=[], pages=[], appointments=[], plans=[], sessions=[]
    )
    silent = replace(silent, vitals=[])
    assert check(asked, silent) == []
