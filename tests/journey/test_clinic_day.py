"""The clinic day, on the running system, with what it must have caused."""

import json
import re
import statistics
import time
from datetime import datetime, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from bson import encode
from pymongo import MongoClient
from rich.console import Console

from deploy.local import clinic_day
from deploy.local.clinic_day import Day
from deploy.local.day.chair import Chair
from deploy.local.day.clinic import FAST, SLOW, DayError
from deploy.local.day.esketamine import EsketamineChair
from deploy.local.day.iv import NOTE, PHONE, IvChair
from deploy.local.day.lozenge import LozengeChair
from deploy.local.stack import CLOCK_FILE, Stack
from shared.clock import read_steps
from shared.events.intake import InquiryReceived
from shared.messaging.topics import SERVICES
from tests.journey.im import ImChair

DAY_SECONDS = 240.0
SIGNALS = ("spans", "logs", "metrics")
CHAIRS: tuple[type[Chair], ...] = (IvChair, EsketamineChair, LozengeChair, ImChair)
LABELS = [chair.label for chair in CHAIRS]
MARKERS = (*(chair.person for chair in CHAIRS), "@example.org", PHONE, *LABELS, NOTE)
EDGES = [
    ("monitoring", "POST /v1/sessions/{session_id}/vitals", "monitoring", "raise alarm"),
    ("monitoring", "raise alarm", "monitoring", "send stillwater.monitoring.alarms.v1"),
    ("monitoring", "send stillwater.monitoring.alarms.v1", "notifications", "process stillwater.monitoring.alarms.v1"),
    ("notifications", "process stillwater.monitoring.alarms.v1", "notifications", "deliver pager"),
    ("notifications", "process stillwater.monitoring.alarms.v1", "notifications", "send stillwater.notifications.v1"),
    ("notifications", "send stillwater.notifications.v1", "monitoring", "process stillwater.notifications.v1"),
]


@pytest.fixture(scope="module")
def day(stack: Stack) -> Day:
    """Of every route: a chair more than `make run` shows."""
    played = Day(stack, Console(file=StringIO(), width=300, highlight=False))
    played.chairs = (*played.chairs, ImChair(played))
    heard = played.iv.facts["headers_and_errors"] = bytearray()

    def hear(answer: httpx.Response) -> None:
        heard.extend(b"".join(name + text for name, text in answer.headers.raw))
        if answer.is_error:
            heard.extend(answer.read())

    played.client.event_hooks["response"].append(hear)
    began = time.monotonic(), played.clock.clinical_now()
    played.play()
    played.iv.facts |= {"took_s": time.monotonic() - began[0], "took": played.clock.clinical_now() - began[1]}
    return played


@pytest.fixture(scope="module")
def spans(day: Day) -> list[dict[str, Any]]:
    return day.trace()[1]


TOLD = (
    ("IV", "a person", "sends the web form, twice by mistake: one inquiry", "InquiryReceived"),
    ("IV", "prescriber", "activates the plan: IV ketamine 0.5 mg/kg, 6 sessions", "TreatmentPlanActivated"),
    ("IV", "monitoring", "refuses 90 mg: above_ceiling, above_plan", None),
    ("IV", "nurse", "gives 35 mg (0.5 mg/kg)", "SessionStarted, DoseAdministered"),
    ("IV", "notifications", "no answer: pages the prescriber", "EscalationStepTaken"),
    ("IV", "monitor", "values fall to 132; the alarms clear", "AlarmCleared"),
    ("IV", "nurse", "ends the infusion after 40 minutes; recovery begins", "DoseStopped"),
    ("IV", "nurse", "discharges the patient with the escort", "PatientDischarged"),
)


@pytest.mark.parametrize(("chair", "who", "what", "events"), TOLD)
def test_a_line_says_when_who_what_and_which_event_carried_it(
    day: Day, chair: str, who: str, what: str, events: str | None
) -> None:
    assert isinstance(day.console.file, StringIO)
    lines = [line.rstrip() for line in day.console.file.getvalue().splitlines()]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    carried = f"  {events}" if events else ""
    assert f"{chair:<10} {who:<13} {what}{carried}" in [line[9:] for line in lines]


def test_two_clinical_hours_take_little_more_than_two_minutes(day: Day) -> None:
    assert day.iv.facts["took"] >= timedelta(hours=2)
    assert day.iv.facts["took_s"] < DAY_SECONDS


def test_around_the_spike_the_monitor_is_heard_once_a_second_of_real_time(day: Day, stack: Stack) -> None:
    rows = [row for row in whole(day, f"{day.iv.path}/vitals?limit=200") if row["sign"] == "8480-6"]
    high = sorted(datetime.fromisoformat(row["received_at"]) for row in rows if row["value"] > 190)
    steps = read_steps(stack.home / CLOCK_FILE)
    assert {[step for step in steps if step.clinical_at <= at][-1].rate for at in high} == {SLOW}
    gaps = [(later - at).total_seconds() for at, later in pairwise(high)]
    assert len(gaps) > 30, "the first page, the second step and the third"
    assert statistics.median(gaps) == pytest.approx(1, abs=0.1)
    assert max(gaps) < 5


def test_the_day_ends_with_its_addresses_and_the_trace_as_a_tree(
    day: Day, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(clinic_day, "Stack", lambda _: stack)
    monkeypatch.setattr(clinic_day, "Day", lambda *_: day)
    monkeypatch.setattr(day, "play", lambda: None)
    clinic_day.main()
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for service in SERVICES:
        assert f"{service} {stack.url(service)}/docs" in said
    assert {f"sinks {stack.issuer}/messages", "a token make token ROLE=nurse", "the end make down"} <= set(said)
    assert f"the board {stack.url('monitoring')}/board (sign in as nurse)" in said
    begin = next(number for number, line in enumerate(said) if line.startswith("trace "))
    tree = said[begin:]
    deeper = [next(n for n, line in enumerate(tree) if f" {service} {name} " in line) for service, name, *_ in EDGES]
    assert deeper == sorted(deeper), "each below what caused it"


def test_each_effect_happened_once(day: Day, stack: Stack) -> None:
    assert day.iv.facts["sessions_done"] == 1
    assert day.iv.facts["integrations"] == 1
    assert day.iv.facts["appointment_state"] == "completed"
    with MongoClient[Any](stack.mongodb_uri) as client:
        assert client.intake.inquiries.count_documents({"_id": day.iv.facts["inquiry"]}) == 1
        of_session = {"session_id": day.iv.facts["session"]}
        raised = client.monitoring.alarms.count_documents(of_session)
        assert raised >= day.iv.facts["alarms"] > 0
        assert client.notifications.escalations.count_documents(of_session) == raised


def test_the_page_names_room_chair_sign_and_value_and_nobody(day: Day) -> None:
    assert day.iv.facts["page"] == f"HIGH alarm: {day.iv.room}, chair 2: systolic pressure 192 mm[Hg]"


def test_the_refusals_say_why(day: Day) -> None:
    assert day.iv.facts["dose_reasons"] == ["above_ceiling", "above_plan"]
    assert {"minimum_time", "escort_confirmed"} <= set(day.iv.facts["discharge_reasons"])


def test_the_confirmation_has_a_calendar_file(day: Day) -> None:
    assert day.iv.facts["calendar"] == ["appointment.ics"]


def test_no_page_was_sent_twice(day: Day) -> None:
    keys = [row["idempotency_key"] for row in day.arrived("pager", day.iv.room)]
    assert len(keys) == len(set(keys))


def test_the_calm_chair_has_no_alarm_and_nobody_was_paged_for_it(day: Day) -> None:
    assert day.esketamine.facts["alarms"] == []
    assert day.esketamine.pages() == []


def test_the_esketamine_chair_is_told_what_the_rems_asks(day: Day) -> None:
    facts = day.esketamine.facts
    assert (facts["alone"], facts["too_soon"]) == (["no_prescriber_on_site"], ["device_gap"])
    first, second = (datetime.fromisoformat(dose["at"]) for dose in facts["discharged"]["doses"])
    assert second - first >= timedelta(minutes=5)
    assert facts["nurse_alone"] == ["signature"]


def test_nobody_leaves_the_esketamine_chair_within_two_hours(day: Day) -> None:
    facts = day.esketamine.facts
    assert facts["too_early"] == ["minimum_time"]
    last = datetime.fromisoformat(facts["discharged"]["doses"][-1]["at"])
    left = datetime.fromisoformat(facts["discharged"]["disposition"]["at"])
    assert left - last >= timedelta(hours=2)


def test_nobody_leaves_the_iv_chair_within_an_hour_of_the_infusions_end(day: Day) -> None:
    [stop] = whole(day, f"{day.iv.path}/timeline?kind=dose_stopped")
    left = datetime.fromisoformat(day.iv.facts["discharged"]["disposition"]["at"])
    assert left - datetime.fromisoformat(stop["occurred_at"]) >= timedelta(hours=1)


@pytest.fixture(scope="module")
def im(day: Day) -> Chair:
    return day.chairs[-1]


def test_the_im_chair_is_dosed_by_two_people_and_its_recovery_begins_by_itself(im: Chair) -> None:
    assert im.facts["alone"] == ["second_check_missing"]
    assert im.facts["discharged"]["state"] == "discharged"
    assert im.facts["alarms"] == []


def test_nobody_leaves_the_im_chair_within_two_hours(im: Chair) -> None:
    assert im.facts["too_early"] == ["minimum_time"]
    last = datetime.fromisoformat(im.facts["discharged"]["doses"][-1]["at"])
    left = datetime.fromisoformat(im.facts["discharged"]["disposition"]["at"])
    assert left - last >= timedelta(hours=2)


def test_the_silent_monitor_is_one_alarm_that_was_answered_and_cleared_when_it_was_heard(day: Day) -> None:
    [alarm] = day.lozenge.facts["alarms"]
    assert (alarm["rule"], alarm["open"]) == ("signal:monitor-4", False)
    assert alarm["raised_at"] < alarm["acknowledged_at"] <= alarm["attended_at"] < alarm["cleared_at"]


def test_the_page_of_the_silent_monitor_arrived_once_and_names_its_place(day: Day) -> None:
    [page] = [row for row in day.lozenge.pages() if row["body"]["to"] == f"pager-{day.nurse}"]
    assert page["body"]["text"] == f"HIGH signal lost: {day.lozenge.room}, chair 4: monitor"


def whole(day: Day, path: str) -> list[dict[str, Any]]:
    """A list of monitoring, all its pages."""
    page = day.call("nurse", "GET", "monitoring", path)
    rows: list[dict[str, Any]] = page["items"]
    while page.get("next_cursor"):
        page = day.call("nurse", "GET", "monitoring", f"{path}&cursor={quote(page['next_cursor'])}")
        rows += page["items"]
    return rows


@pytest.mark.parametrize("number", range(len(CHAIRS)), ids=[chair.name for chair in CHAIRS])
def test_a_chair_has_its_own_patients_data_and_nobody_elses(day: Day, number: int) -> None:
    chair, others = day.chairs[number], [other for other in day.chairs if other is not day.chairs[number]]
    shown = {name: whole(day, f"{chair.path}/{name}?limit=200") for name in ("vitals", "timeline")}
    assert {row["device"] for row in shown["vitals"]} == {chair.monitor.device, "manual"}  # the baseline by hand
    assert {row["session_id"] for row in whole(day, f"/v1/alarms?patient_id={chair.patient}")} <= {chair.session}
    foreign = [text for other in others for text in (other.patient, other.session, other.room, other.monitor.device)]
    assert [text for text in foreign if text in str(shown)] == []


@pytest.mark.parametrize(("service", "name", "child_service", "child"), EDGES, ids=str)
def test_one_trace_runs_from_the_reading_to_the_page(
    spans: list[dict[str, Any]], service: str, name: str, child_service: str, child: str
) -> None:
    parents = {row["span_id"] for row in spans if (row["service"], row["name"]) == (service, name)}
    children = [row for row in spans if (row["service"], row["name"]) == (child_service, child)]
    assert any(row["parent_id"] in parents for row in children)


def test_every_service_tells_its_spans_figures_and_log_over_otlp(day: Day, stack: Stack) -> None:
    for signal in SIGNALS:
        rows = day.client.get(f"{stack.issuer}/{signal}").json()
        assert {row["service"] for row in rows} >= set(SERVICES), signal


def test_a_figure_is_the_same_over_otlp_and_at_metrics(day: Day, stack: Stack) -> None:
    def told() -> bool:
        rows = day.client.get(f"{stack.issuer}/metrics", params={"name": "stillwater_alarms_raised"}).json()
        here = {row["attributes"]["priority"]: row["value"] for row in rows if row["service"] == "monitoring"}
        there = day.client.get(f"{stack.health_url('monitoring')}/metrics").text
        lines = [f'stillwater_alarms_raised_total{{priority="{name}"}} {value}' for name, value in here.items()]
        return bool(lines) and all(line in there.splitlines() for line in lines)

    day.until("the figure", told)


def forms(marker: str) -> tuple[bytes, ...]:
    """As it is, as JSON may escape it, as a URL does."""
    return marker.encode(), json.dumps(marker)[1:-1].encode(), quote(marker).encode()


@pytest.fixture(scope="module")
def places(day: Day, stack: Stack) -> dict[str, bytes]:
    """All that is written anywhere, the logs of MongoDB and Kafka among it; the restricted topic's records too."""
    found = {path.name: path.read_bytes() for path in (stack.home / "log").glob("*.log")}
    assert {"mongod.log", "kafka.log", "notifications.log"} <= set(found)
    found |= {f"OTLP {signal}": day.client.get(f"{stack.issuer}/{signal}").content for signal in SIGNALS}
    found["headers and errors"] = bytes(day.iv.facts["headers_and_errors"])
    with MongoClient[Any](stack.mongodb_uri) as client:
        for service in SERVICES:
            found[f"{service} metrics"] = day.client.get(f"{stack.health_url(service)}/metrics").content
            for name in client[service].list_collection_names():
                found[f"{service}.{name}"] = b"".join(encode(row) for row in client[service][name].find())
    return found | {f"kafka {path}": path.read_bytes() for path in (stack.home / "data" / "kafka").rglob("*.log")}


@pytest.mark.parametrize("marker", MARKERS)
def test_patient_data_is_in_no_log_span_metric_header_record_error_or_plain_field(
    places: dict[str, bytes], marker: str
) -> None:
    assert [name for name, content in places.items() if any(form in content for form in forms(marker))] == []


def test_the_markers_have_travelled(day: Day, stack: Stack) -> None:
    """Else that they are found nowhere would prove nothing."""
    patients = [day.call("nurse", "GET", "intake", f"/v1/patients/{chair.patient}") for chair in day.chairs]
    timeline = day.call("nurse", "GET", "monitoring", f"{day.iv.path}/timeline")
    told = str([patients, timeline, day.arrived("email", day.iv.facts["email"])])
    assert [marker for marker in MARKERS if marker not in told] == LABELS
    with MongoClient[Any](stack.mongodb_uri) as client:
        kept = {"_id": {"$in": [chair.session for chair in day.chairs]}, "label_sealed": {"$type": "binData"}}
        assert client.monitoring.sessions.count_documents(kept) == len(CHAIRS)


def test_who_opened_the_link_is_in_the_audit(day: Day, stack: Stack) -> None:
    with MongoClient[Any](stack.mongodb_uri) as client:
        rows = client.notifications.audit.find({"actor": day.doctor})
        assert [row["action"] for row in rows] == ["escalation.read", "escalation.acknowledge", "escalation.read"]


def test_nothing_was_dead_lettered(day: Day, stack: Stack) -> None:
    assert day.iv.facts
    with MongoClient[Any](stack.mongodb_uri) as client:
        for service in ("intake", "scheduling", "monitoring", "notifications"):
            assert client[service].dead_letters.count_documents({}) == 0
            assert client[service].outbox.count_documents({"state": "dead"}) == 0


def test_the_events_it_tells_of_were_read_from_the_topics(day: Day) -> None:
    told = day.iv.facts["heard"]
    assert told[:3] == ["InquiryReceived", "PatientRegistered", "ContactRecord"]
    assert told.count("EscalationStepTaken") == 2
    assert day.ears.take(InquiryReceived) is None, "the form was sent twice and is one inquiry"


def test_clinical_time_goes_at_its_own_rate_again(day: Day, stack: Stack) -> None:
    assert day.iv.facts
    assert read_steps(stack.home / CLOCK_FILE)[-1].rate == 1


def test_a_day_that_stops_sets_the_clock_back_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(_: Day) -> None:
        raise DayError

    stopped = Day(stack, Console(file=StringIO()))
    monkeypatch.setattr(Day, "opens", stops)
    with pytest.raises(DayError):
        stopped.play()
    assert [step.rate for step in read_steps(stack.home / CLOCK_FILE)[-2:]] == [FAST, 1]
