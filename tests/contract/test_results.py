"""What `make bench` leaves for others to read: its form, its names, and that a figure stays beside its yardstick."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import figures
from bench.figures import RESULTS, Figure, write
from shared.messaging.topics import SERVICES

ROWS: list[dict[str, Any]] = json.loads(RESULTS.read_text())
FIELDS = {"name", "value", "unit", "yardstick", "ratio"}
PROMISED = {
    "alarm_path_p50_ms",
    "alarm_path_p99_ms",
    "api_create_p50_ms",
    "api_create_throughput_per_s",
    "consumer_throughput_per_s",
    "footprint_ready_s",
    "relay_latency_p50_ms",
    "relay_latency_p99_ms",
    "relay_throughput_per_s",
    *(f"footprint_rss_mb_{service}" for service in SERVICES),
}


def test_every_figure_that_is_promised_is_there_once_with_its_yardstick() -> None:
    names = [row["name"] for row in ROWS]
    assert (names, len(names)) == (sorted(names), len(set(names)))
    assert {row["name"] for row in ROWS if row["yardstick"]} >= PROMISED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_row_has_its_fields_and_no_more(row: dict[str, Any]) -> None:
    assert set(row) == FIELDS
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", row["name"])
    assert isinstance(row["value"], int | float)
    assert row["unit"]
    assert row["ratio"] == (row["value"] / row["yardstick"] if row["yardstick"] else None)


def test_what_was_not_measured_this_time_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    monkeypatch.setattr(figures, "RESULTS", path)
    write([Figure("b_p50_ms", 3.0, "ms", 2.0, goal="<= 2 x"), Figure("a_lost", 0, "pages")])
    write([Figure("b_p50_ms", 4.0, "ms", 2.0, goal="<= 2 x")])
    assert json.loads(path.read_text()) == [
        {"name": "a_lost", "value": 0, "unit": "pages", "yardstick": None, "ratio": None},
        {"name": "b_p50_ms", "value": 4.0, "unit": "ms", "yardstick": 2.0, "ratio": 2.0},
    ]
