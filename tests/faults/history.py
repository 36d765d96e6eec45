"""What was asked, what was acknowledged, which faults were made: written down while it happens."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Command:
    """An inquiry that a client sent until it was acknowledged; `at` in seconds of the machine's clock."""

    key: str
    email: str
    acknowledged_id: str | None = None


@dataclass
class Episode:
    """A collapse that was measured in a room and sent until it was acknowledged."""

    room: str
    session_id: str
    sign: str
    sent_at: float
    acknowledged_at: float | None = None


@dataclass(frozen=True)
class Fault:
    """From `began` until everything that it hit was running again."""

    name: str
    began: float
    ended: float


@dataclass
class History:
    """One run. `commands` and `episodes` hold what was sent, acknowledged or not."""

    commands: list[Command] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def faulty(self, begin: float, end: float) -> bool:
        """Whether any fault touched this span; a fault's shadow lasts until what it hit has recovered."""
        return any(fault.began <= end and begin <= fault.ended for fault in self.faults)


@dataclass(frozen=True)
class Observed:
    """What the stores, topics and sinks hold when everything has settled; documents as they are stored."""

    inquiries: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    alarms: list[dict[str, Any]]
    escalations: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    outbox: list[dict[str, Any]]
    inbox: list[str]
    records: list[dict[str, Any]]
    mails: list[dict[str, Any]]
    pages: list[dict[str, Any]]
