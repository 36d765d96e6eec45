"""Two clocks: clinical time may be scaled in the local environment, system time is always real (architecture 3.3)."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

MAX_RATE = 60.0
_RESTAT_SECONDS = 0.1


def _milliseconds(moment: datetime) -> datetime:
    """BSON dates hold milliseconds; truncating here keeps what is compared equal to what is stored."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Clock(Protocol):
    """What every component is given instead of the `time` module."""

    def clinical_now(self) -> datetime:
        """UTC, milliseconds: schedules, delays, escalation steps, session times."""

    def system_now(self) -> datetime:
        """UTC, milliseconds: leases, retries, tokens, ids, audit."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""

    def clinical_span(self, real_seconds: float) -> timedelta:
        """How much clinical time passes now in so many real seconds: for tolerances that only absorb transport."""


class SystemClock:
    """Both clocks are the machine's."""

    def clinical_now(self) -> datetime:
        return self.system_now()

    def system_now(self) -> datetime:
        return _milliseconds(datetime.now(UTC))

    def monotonic(self) -> float:
        return time.monotonic()

    def clinical_span(self, real_seconds: float) -> timedelta:
        return timedelta(seconds=real_seconds)


@dataclass(frozen=True)
class Step:
    """From `system_at` on, clinical time runs `rate` times as fast, beginning at `clinical_at`.

    Raises ValueError when the rate is not within (0, 60].
    """

    system_at: datetime
    clinical_at: datetime
    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"rate must be above 0 and at most {MAX_RATE:g}")

    def clinical(self, system: datetime) -> datetime:
        return self.clinical_at + (system - self.system_at) * self.rate


class ScaledClock(SystemClock):
    """Clinical time from a shared file of recorded steps, so that all processes change speed at the same moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._steps: list[Step] = []
        self._read_at = float("-inf")
        self._mtime = -1

    def clinical_now(self) -> datetime:
        now = self.system_now()
        step = self._step(now)
        return _milliseconds(step.clinical(now)) if step else now

    def clinical_span(self, real_seconds: float) -> timedelta:
        step = self._step(self.system_now())
        return timedelta(seconds=real_seconds * (step.rate if step else 1.0))

    def _step(self, now: datetime) -> Step | None:
        self._refresh()
        return _in_force(self._steps, now)

    def _refresh(self) -> None:
        """A file that holds a wrong rate is read, and refused, at every look until it is mended."""
        if self.monotonic() - self._read_at < _RESTAT_SECONDS:
            return
        mtime = self._path.stat().st_mtime_ns if self._path.exists() else self._mtime
        if mtime != self._mtime:
            self._steps = read_steps(self._path)
        self._mtime, self._read_at = mtime, self.monotonic()


def _in_force(steps: Sequence[Step], system: datetime) -> Step | None:
    due = [step for step in steps if step.system_at <= system]
    return due[-1] if due else None


def read_steps(path: Path) -> list[Step]:
    """The recorded steps in file order; a line that is not whole yet is left for the next reading.

    Raises ValueError when a rate is not within (0, 60].
    """
    steps = []
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        row = json.loads(line)
        system_at, clinical_at = (datetime.fromisoformat(row[name]) for name in ("system_at", "clinical_at"))
        steps.append(Step(system_at, clinical_at, float(row["rate"])))
    return steps


def append_step(path: Path, rate: float, after_s: float = 1.0) -> Step:
    """Record a change of rate that takes effect `after_s` real seconds from now in every process.

    Raises ValueError when the rate is not within (0, 60].
    """
    at = datetime.now(UTC) + timedelta(seconds=after_s)
    earlier = _in_force(read_steps(path), at) if path.exists() else None
    step = Step(at, earlier.clinical(at) if earlier else at, rate)
    row = {"system_at": step.system_at.isoformat(), "clinical_at": step.clinical_at.isoformat(), "rate": rate}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return step


class ManualClock:
    """Time stands still until a test moves it.

    `system`: real time, where the two are to be apart. `rate`: clinical seconds in one of real time.
    """

    def __init__(self, clinical: datetime, system: datetime | None = None, rate: float = 1.0) -> None:
        self._clinical, self._system, self.rate = clinical, system or clinical, rate
        self._elapsed = 0.0

    def clinical_now(self) -> datetime:
        return _milliseconds(self._clinical)

    def system_now(self) -> datetime:
        return _milliseconds(self._system)

    def monotonic(self) -> float:
        return self._elapsed

    def clinical_span(self, real_seconds: float) -> timedelta:
        return timedelta(seconds=real_seconds * self.rate)

    def advance(self, seconds: float) -> None:
        """By so many clinical seconds."""
        real = seconds / self.rate
        self._clinical += timedelta(seconds=seconds)
        self._system += timedelta(seconds=real)
        self._elapsed += real
