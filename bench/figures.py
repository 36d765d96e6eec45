"""Figures and their yardsticks, as a table and as `bench/results.json`."""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Figure:
    """`yardstick` is the bare figure of the same run in the same unit; `ratio` is value over yardstick."""

    name: str
    value: float
    unit: str
    yardstick: float | None = None
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.yardstick if self.yardstick else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    return f"{platform.machine()}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def show(figures: Sequence[Figure]) -> None:
    table = Table("figure", "value", "yardstick", "ratio", "to reach", title=f"Stillwater on {machine()}")
    for item in figures:
        bare = f"{item.yardstick:,.2f}" if item.yardstick else "-"
        ratio = f"{item.ratio:.2f}" if item.ratio else "-"
        table.add_row(item.name, f"{item.value:,.2f} {item.unit}", bare, ratio, item.goal)
    Console().print(table)


def write(figures: Sequence[Figure]) -> None:
    """Keeps the figures of benches that were not run this time."""
    known = {row["name"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for item in figures:
        row = {name: value for name, value in asdict(item).items() if name != "goal"}
        known[item.name] = row | {"ratio": item.ratio}
    RESULTS.write_text(json.dumps(sorted(known.values(), key=lambda row: str(row["name"])), indent=1) + "\n")
