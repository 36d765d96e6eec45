"""What was asked, what was acknowledged, which faults were made: written down while it happens."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Command:
    """An inquiry that a client sent until it was acknowledged."""

    key: str
    email: str
    acknowledged_id: str | None = None


MANUAL = "manual"


@dataclass
class Reading:
    """A sign measured in a room and sent until it was acknowledged; all times in seconds of the machine's clock.

    `sent_at`: the first attempt. `answers` of the monitoring service, one for each delivery that it acknowledged.
    """

    room: str
    session_id: str
    sign: str
    value: float
    taken_at: float
    acknowledged_at: float | None = None
    device: str = MANUAL
    sent_at: float | None = None
    answers: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes it one reading: session, sign, device and the millisecond at which it was taken."""
        return self.session_id, self.sign, self.device, round(self.taken_at * 1000)


@dataclass(frozen=True)
class Heard:
    """One delivery of a device's readings; `known`: something of it was stored, so it was heard in between."""

    session_id: str
    device: str
    began: float
    ended: float
    known: bool


@dataclass
class Visit:
    """A patient's way through all four services; each name is set when its command was acknowledged."""

    patient_id: str | None = None
    plan_id: str | None = None
    appointment_id: str | None = None
    session_id: str | None = None
    completed: bool = False


@dataclass(frozen=True)
class Asked:
    """One request; `status` 0: there was no answer."""

    service: str
    path: str
    began: float
    ended: float
    status: int


@dataclass(frozen=True)
class Fault:
    """From `began` until everything that it hit was running again."""

    name: str
    began: float
    ended: float


@dataclass
class History:
    """One run. What was sent is here, acknowledged or not.

    `shown`: session, rule and whether the first look at monitoring's API after the acknowledgement found the alarm.
    `links`: the alarms that were accepted by the link in a page. `broken`: what could not be done, in words.
    """

    commands: list[Command] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    shown: list[tuple[str, str, bool]] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def faulty(self, begin: float, end: float) -> bool:
        """Whether any fault touched this span; a fault's shadow lasts until what it hit has recovered."""
        return bool(self.during(begin, end))

    def during(self, begin: float, end: float) -> list[str]:
        """The names of the faults that touched this span."""
        return [fault.name for fault in self.faults if fault.began <= end and begin <= fault.ended]


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
    plans: list[dict[str, Any]] = field(default_factory=list)
    appointments: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    vitals: list[dict[str, Any]] = field(default_factory=list)
