"""The only place that names topics and consumer groups, and that says who may read and write which."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.events.envelope import Event
from shared.events.intake import ContactRecord
from shared.events.monitoring import EvaluatorBeat

SERVICES = ("intake", "scheduling", "monitoring", "notifications")
MAX_BATCH_BYTES = 256 * 1024
MAX_REQUEST_BYTES = 900 * 1024
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """A topic as it must be in the broker; partition counts never change in place."""

    name: str
    producer: str
    readers: tuple[str, ...]
    partitions: int
    retention_ms: int
    compacted: bool = False

    def config(self, min_insync_replicas: int) -> dict[str, str]:
        """A compacted topic rolls its segments hourly and is cleaned within six hours: erasure takes at most a day."""
        always = {
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(4 * MAX_BATCH_BYTES),
            "min.insync.replicas": str(min_insync_replicas),
        }
        if not self.compacted:
            return always | {"cleanup.policy": "delete"}
        hour = 3_600_000
        cleaned = {"segment.ms": hour, "max.compaction.lag.ms": 6 * hour, "delete.retention.ms": 24 * hour}
        return always | {"cleanup.policy": "compact"} | {name: str(value) for name, value in cleaned.items()}


def _readers(producer: str) -> tuple[str, ...]:
    """Every other service; notifications reads its own too, for its own troubles are paged like the others'."""
    return tuple(name for name in SERVICES if name != producer or name == "notifications")


BULK = {name: Topic(f"stillwater.{name}.v1", name, _readers(name), 12, 30 * _DAY_MS) for name in SERVICES}
ALARMS = Topic("stillwater.monitoring.alarms.v1", "monitoring", ("notifications",), 24, 14 * _DAY_MS)
INTAKE_ALARMS = Topic("stillwater.intake.alarms.v1", "intake", _readers("intake"), 24, 14 * _DAY_MS)
CONTACTS = Topic("stillwater.intake.contacts.v1", "intake", ("notifications",), 12, 30 * _DAY_MS, compacted=True)
BEATS = Topic("stillwater.monitoring.beats.v1", "monitoring", ("monitoring", "notifications"), 1, 3_600_000)
ALARM_LANES = {topic.producer: topic for topic in (ALARMS, INTAKE_ALARMS)}
TOPICS: tuple[Topic, ...] = (*BULK.values(), ALARMS, INTAKE_ALARMS, CONTACTS, BEATS)


def topic_for(event: type[Event]) -> Topic:
    if event is ContactRecord:
        return CONTACTS
    if event is EvaluatorBeat:
        return BEATS
    lane = BULK if event.LANE == "bulk" else ALARM_LANES
    return lane[event.SERVICE]


def group_for(service: str, lane: str) -> str:
    return f"stillwater.{service}" + (".alarms" if lane == "alarm" else "")


def topics_of(events: Sequence[type[Event]]) -> list[str]:
    return sorted({topic_for(event).name for event in events})
