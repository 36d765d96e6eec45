"""Pure rules of the services."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduling.slots import SLOT, slots
from shared.clock import ManualClock, ScaledClock, append_step, read_steps
from shared.errors import BadRequest
from shared.persistence.vault import KeyRing
from shared.web.bodies import check_json

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)), st.integers(1, 480), st.integers(0, 480))  # noqa: DTZ001
def test_visits_that_overlap_share_a_slot(start: datetime, minutes: int, later: int) -> None:
    end = start + timedelta(minutes=minutes)
    other = start + timedelta(minutes=later)
    shared = set(slots(start, end)) & set(slots(other, other + SLOT))
    assert shared or other >= end


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a": NaN}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'"\xff"',
        b"[" * 40 + b"]" * 40,
        b'["' + b"x" * 20001 + b'"]',
    ],
    ids=["broken", "NaN", "NUL", "lone surrogate", "bad UTF-8", "deep", "long"],
)
def test_what_is_not_strict_json_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        check_json(body)


def test_all_processes_change_the_clinical_clock_by_the_shared_file(tmp_path: Path) -> None:
    path = tmp_path / "clock.jsonl"
    step = append_step(path, 60, after_s=0)
    one, two = ScaledClock(path), ScaledClock(path)
    assert abs(one.clinical_now() - two.clinical_now()) < timedelta(seconds=5)
    assert one.clinical_now() >= step.clinical_at - timedelta(milliseconds=1)
    with pytest.raises(ValueError, match="rate"):
        append_step(path, 61)


def test_a_step_that_is_still_being_written_is_left_for_the_next_reading(tmp_path: Path) -> None:
    path = tmp_path / "clock.jsonl"
    append_step(path, 60)
    whole = path.read_text()
    path.write_text(whole + whole[:30])
    assert [step.rate for step in read_steps(path)] == [60]
    path.write_text(whole + whole)
    assert [step.rate for step in read_steps(path)] == [60, 60]


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock(NOW)
    clock.advance(1.5)
    assert clock.clinical_now() == NOW + timedelta(seconds=1.5)


@pytest.mark.parametrize("text", ["", "k1", "k1:AAAA", ":AAAA"])
def test_a_key_ring_without_good_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"key ring|base64|padding|Incorrect"):
        KeyRing(text)
