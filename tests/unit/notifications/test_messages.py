"""What messages say and when: pure."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

import services.notifications
from services.notifications.calendar_file import calendar_file
from services.notifications.messages import (
    MessageTexts,
    Text,
    alarm_kind,
    compose,
    next_attempt,
    page_text,
    pick_route,
    quiet_until,
    spoken_text,
)
from services.notifications.watch import SILENCE, observe, silent
from shared.events.envelope import UNKNOWN
from shared.protocols import load

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEXTS = load(Path(services.notifications.__file__).parent / "protocols" / "messages.yaml", MessageTexts)
SIGN = {"sign": "8480-6", "value": 192.0, "unit": "mm[Hg]", "limit": 180.0}
ALARM: dict[str, Any] = {"kind": "alarm", "priority": "high", "room": "Room 2", "chair": "B", "signs": [SIGN]}


def test_every_text_renders_with_the_facts_that_its_channel_may_hold() -> None:
    for name in TEXTS.templates:
        assert "{" not in TEXTS.render(name, "email", "en", {"name": "Ada", "start": "Monday"}).text
        start = "Wednesday, 30 September 2026 at 12:00 (EDT)"
        assert len(TEXTS.render(name, "sms", "xx", {"start": start}).text) <= 160


@pytest.mark.parametrize(
    ("category", "kind"), [("physiological", "alarm"), ("technical", "technical alarm"), (UNKNOWN, "alarm")]
)
def test_an_alarm_of_a_category_that_only_later_code_knows_is_about_the_patient(category: str, kind: str) -> None:
    assert alarm_kind(category) == kind


def test_the_aftercare_says_not_to_drive() -> None:
    assert "Do not drive" in TEXTS.render("aftercare", "email", "en", {"name": "Ada"}).text


@pytest.mark.parametrize("text", ["{name.__class__}", "{secret}", "{name!r}", "{start:x}"])
def test_a_placeholder_that_is_not_allowed_is_refused(text: str) -> None:
    content = TEXTS.model_dump(mode="json")
    content["templates"]["aftercare"]["email"]["en"]["text"] = text
    with pytest.raises(ValueError, match="placeholder"):
        MessageTexts.model_validate(content)


def test_an_sms_never_holds_the_name() -> None:
    content = TEXTS.model_dump(mode="json")
    content["templates"]["aftercare"]["sms"]["en"] = "Hello {name}"
    with pytest.raises(ValueError, match="placeholder"):
        MessageTexts.model_validate(content)


def test_a_page_says_where_and_what() -> None:
    assert page_text(ALARM, NOW, NOW, 900) == "HIGH alarm: Room 2, chair B: systolic pressure 192 mm[Hg]"


def test_an_old_page_says_so_and_an_unknown_place_too() -> None:
    text = page_text({**ALARM, "room": None, "chair": None}, NOW - timedelta(minutes=16), NOW, 900)
    assert "LATE: raised 16 min ago" in text
    assert "look at the board" in text
    assert "LATE" not in page_text(ALARM, NOW - timedelta(minutes=15), NOW, 900)


def test_a_call_says_the_same_in_words() -> None:
    silent = {"kind": "signal lost", "priority": "high", "room": None, "chair": None, "what": "pulse_oximeter"}
    said = spoken_text(silent, NOW - timedelta(minutes=16), NOW, 900)
    wanted = "high priority signal lost, raised 16 minutes ago. place unknown, look at the board. pulse oximeter."
    assert said == wanted


@given(st.integers(0, 365 * 24 * 60))
def test_quiet_hours_end_at_eight_where_the_recipient_lives(minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    until = quiet_until(TEXTS, now, "America/New_York")
    if until is not None:
        assert now < until <= now + timedelta(hours=12)
        assert quiet_until(TEXTS, until, "America/New_York") is None


def test_the_calendar_file_replaces_its_earlier_version() -> None:
    text = calendar_file(
        "0190", 3, NOW, NOW + timedelta(hours=2), method="REQUEST", organizer="c@x.org", attendee="a@x.org", now=NOW
    )
    calendar = Calendar.from_ical(text)
    event = calendar.walk("VEVENT")[0]
    assert (calendar["METHOD"], event["UID"], event["SEQUENCE"]) == ("REQUEST", "0190", 3)
    mail = compose("c@x.org", "a@x.org", "<k@x.org>", Text(subject="s", text="t"), text, "REQUEST")
    part = next(part for part in mail.walk() if part.get_content_type() == "text/calendar")
    assert part.get_filename() == "appointment.ics"
    assert part.get_param("method") == "REQUEST"


def test_a_line_break_in_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"(?i)header|linefeed|newline"):
        compose("c@x.org", "a@x.org\r\nBcc: b@x.org", "<k@x.org>", Text(subject="s", text="t"), None, "REQUEST")


@given(st.integers(1, 200), st.integers(1, 4))
def test_pages_try_again_within_15_s_and_mail_within_30_min(failures: int, routes: int) -> None:
    assert timedelta(0) < next_attempt(True, failures, routes) <= timedelta(seconds=15)
    assert timedelta(0) < next_attempt(False, failures, routes) <= timedelta(minutes=30)


def test_routes_are_tried_in_order_without_those_that_refused() -> None:
    routes = ["pager.0", "pager.1", "sms.0"]
    assert [pick_route(routes, [], n) for n in range(4)] == ["pager.0", "pager.1", "sms.0", "pager.0"]
    assert [pick_route(routes, ["pager.0"], n) for n in range(2)] == ["pager.1", "sms.0"]
    assert pick_route(["pager.0"], ["pager.0"], 1) is None


def test_silence_is_found_once_per_beginning_and_only_while_somebody_is_watched() -> None:
    row = observe(None, sessions=[("s1", NOW), ("s2", NOW)], ended=[], now=NOW)
    assert silent(row, "c", NOW + SILENCE) == []
    found = silent(row, "c", NOW + SILENCE + timedelta(seconds=1))
    assert [item.code for item in found] == ["monitoring_silent"]
    assert found == silent(row, "c", NOW + timedelta(minutes=5))
    later = NOW + timedelta(seconds=20)
    row = observe(row, sessions=[("s1", later)], ended=[], now=later)
    assert [(item.code, item.session_id) for item in silent(row, "c", later)] == [("session_not_evaluated", "s2")]
    row = observe(row, sessions=[("s1", later), ("s2", NOW)], ended=["s2"], now=later)
    assert silent(row, "c", later) == []
    row = observe(row, sessions=[], ended=["s1"], now=later)
    assert silent(row, "c", later + timedelta(hours=1)) == []


def test_the_watch_keeps_the_newest_stamp_and_is_bounded() -> None:
    many = [(f"s{n}", NOW + timedelta(seconds=n)) for n in range(700)]
    row = observe(None, sessions=many, ended=[], now=NOW)
    assert len(row["sessions"]) == 500
    row = observe(row, sessions=[("s0", NOW - timedelta(seconds=9))], ended=[], now=NOW)
    assert row["sessions"]["s0"] == NOW
