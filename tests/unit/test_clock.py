"""Clinical time: the same in every process, at its rate and without a jump; nothing else reads the machine's clock."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.stack import ROOT
from shared.clock import ManualClock, ScaledClock, Step, append_step, read_steps

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MS, SECOND = timedelta(milliseconds=1), timedelta(seconds=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clock.jsonl"


def clinical(path: Path, at: datetime, monkeypatch: pytest.MonkeyPatch) -> datetime:
    """What a process would read then."""
    monkeypatch.setattr(ScaledClock, "system_now", lambda _: at)
    return ScaledClock(path).clinical_now()


def test_all_processes_change_the_clinical_clock_by_the_shared_file(path: Path) -> None:
    step = append_step(path, 60, after_s=0)
    one, two = ScaledClock(path), ScaledClock(path)
    assert abs(one.clinical_now() - two.clinical_now()) < timedelta(seconds=5)
    assert one.clinical_now() >= step.clinical_at - MS


def test_before_the_first_step_clinical_time_is_real(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clinical(path, NOW, monkeypatch) == NOW
    first = append_step(path, 60)
    assert first.clinical_at == first.system_at
    before = first.system_at.replace(microsecond=0) - SECOND
    assert clinical(path, before, monkeypatch) == before


@pytest.mark.parametrize(("rate", "then"), [(60, 1), (1, 60), (2.5, 60)])
def test_a_change_of_rate_is_no_jump(path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, then: float) -> None:
    append_step(path, rate, after_s=0)
    change = append_step(path, then, after_s=100)
    at = change.system_at
    before, there, after = (clinical(path, at + offset, monkeypatch) for offset in (-SECOND, timedelta(0), SECOND))
    assert abs(there - before - rate * SECOND) <= MS
    assert abs(after - there - then * SECOND) <= MS


def test_a_step_that_was_overtaken_before_its_time_is_no_jump_either(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_step(path, 60, after_s=0)
    overtaken, change = append_step(path, 1, after_s=100), append_step(path, 2, after_s=50)
    at = change.system_at
    before, there = (clinical(path, at + offset, monkeypatch) for offset in (-SECOND, timedelta(0)))
    assert abs(there - before - 60 * SECOND) <= MS
    at = overtaken.system_at
    before, after = (clinical(path, at + offset, monkeypatch) for offset in (-SECOND, SECOND))
    assert abs(after - before - 4 * SECOND) <= MS


def test_a_tolerance_of_transport_is_as_long_in_real_time_at_any_rate(path: Path) -> None:
    clock = ScaledClock(path)
    assert clock.clinical_span(2) == 2 * SECOND
    append_step(path, 60, after_s=-1)
    assert ScaledClock(path).clinical_span(2) == 120 * SECOND


@pytest.mark.parametrize("rate", [0, -1, 60.5, float("nan")])
def test_a_rate_that_is_none_is_neither_written_nor_read(path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be above 0 and at most 60"):
        append_step(path, rate)
    assert not path.exists()
    row = {"system_at": NOW.isoformat(), "clinical_at": NOW.isoformat(), "rate": rate}
    path.write_text(json.dumps(row) + "\n")
    clock = ScaledClock(path)
    for _ in range(2):
        with pytest.raises(ValueError, match="rate must be above 0 and at most 60"):
            clock.clinical_now()


def test_a_rate_of_sixty_will_do() -> None:
    assert Step(NOW, NOW, 60).clinical(NOW + SECOND) == NOW + timedelta(minutes=1)


def test_a_step_that_is_still_being_written_is_left_for_the_next_reading(path: Path) -> None:
    append_step(path, 60)
    whole = path.read_text()
    path.write_text(whole + whole[:30])
    assert [step.rate for step in read_steps(path)] == [60]
    path.write_text(whole + whole)
    assert [step.rate for step in read_steps(path)] == [60, 60]


def test_a_manual_clock_stands_still_and_has_two_times() -> None:
    clock = ManualClock(NOW, NOW - timedelta(hours=7), rate=60)
    clock.advance(90)
    assert clock.clinical_now() == NOW + timedelta(seconds=90)
    assert clock.system_now() == NOW - timedelta(hours=7) + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


READINGS = (
    "import time\ntime.time()",
    "import time\ntime.monotonic()",
    "from time import monotonic\nmonotonic()",
    "from datetime import UTC, datetime\ndatetime.now(UTC)",
    "import datetime as dt\ndt.datetime.now(dt.UTC)",
    "from datetime import date\ndate.today()",
)


@pytest.mark.parametrize("place", ["shared/persistence/new.py", "services/monitoring/usecases/new.py"])
def test_the_machines_clock_is_read_by_nobody_else(place: str) -> None:
    ruff = [str(Path(sys.executable).parent / "ruff"), "check", "--select", "TID251", "--stdin-filename", place, "-"]
    for reading in READINGS:
        found = subprocess.run(ruff, input=reading, capture_output=True, text=True, cwd=ROOT, check=False)
        assert "TID251" in found.stdout, reading
