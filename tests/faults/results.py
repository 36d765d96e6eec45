"""tests/faults/RESULTS.md: what the last long run did, counted and found."""

import os
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.faults.alarms import worst_page
from tests.faults.history import History, Observed

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Round:
    """Its faults one after the other, and what the checker found at its end."""

    names: tuple[str, ...]
    seconds: float
    found: tuple[str, ...]


def write(history: History, seen: Observed, seed: int, rounds: Sequence[Round]) -> None:
    RESULTS.write_text(_text(history, seen, seed, rounds))


def _text(history: History, seen: Observed, seed: int, rounds: Sequence[Round]) -> str:
    times = Counter(name for round_ in rounds for name in round_.names)
    red: dict[str, list[str]] = defaultdict(list)
    for round_ in rounds:
        for name in round_.names:
            red[name] += round_.found
    calm, worst = worst_page(history, seen)
    lines = [
        "# The last long fault run",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, seed {seed}, {sum(round_.seconds for round_ in rounds):.0f} s in "
            f"{len(rounds)} rounds, on {_machine()}. Written by `make test-faults`."
        ),
        "",
        "| counted | |",
        "|---|---:|",
        *(f"| {name} | {number} |" for name, number in _counts(history, seen).items()),
        f"| worst way from an acknowledged reading to its page, no fault within 40 s | {calm:.2f} s |",
        f"| worst way of all | {worst:.2f} s |",
        "",
        "| fault | times | verdict |",
        "|---|---:|---|",
        *(f"| {name} | {times[name]} | {_verdict(red[name])} |" for name in times),
    ]
    return "\n".join(lines) + "\n"


def _verdict(found: Sequence[str]) -> str:
    """Of each check that was broken the first finding, and how many there were."""
    first: dict[str, str] = {}
    for text in found:
        first.setdefault(text.partition(":")[0], text)
    counted = Counter(text.partition(":")[0] for text in found)
    told = [f"{text} ({counted[check]} in all)" if counted[check] > 1 else text for check, text in first.items()]
    return "; ".join(told) or "nothing lost, nothing twice"


def _counts(history: History, seen: Observed) -> dict[str, int]:
    return {
        "requests": len(history.asked),
        "of them without an answer, or with 5xx": sum(asked.status in {0, *range(500, 600)} for asked in history.asked),
        "commands acknowledged: inquiries": sum(command.acknowledged_id is not None for command in history.commands),
        "commands acknowledged: readings": sum(row.acknowledged_at is not None for row in history.readings),
        "visits completed through all four services": sum(visit.completed for visit in history.visits),
        "events": len({record["id"] for record in seen.records}),
        "records, with repetitions": len(seen.records),
        "effects (inbox marks)": len(seen.inbox),
        "alarms": len(seen.alarms),
        "accepted by the link in the page": len(history.links),
        "pages": len(seen.pages),
        "e-mails": len(seen.mails),
    }


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}"
