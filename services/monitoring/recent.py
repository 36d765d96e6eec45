"""What one process remembers of devices between two batches: hints for flags and for the timing, never the engine's state.

Fed by what was committed. A replica that has seen less, or has just started, flags a little less; it alarms the same.
"""

from dataclasses import dataclass, field

from services.monitoring.timing import Timing
from services.monitoring.vitals import Seen

KEPT = 50_000
SignKey = tuple[str, str, str]
DeviceKey = tuple[str, str]


@dataclass
class Recent:
    """`seen` by session, sign and device; `timings` by clinic and device; `sessions` that a batch evaluated."""

    seen: dict[SignKey, Seen] = field(default_factory=dict)
    timings: dict[DeviceKey, Timing] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)

    def learn(self, batch: "Recent") -> None:
        """The batch is committed."""
        if len(self.seen) > KEPT:
            self.seen.clear()
        if len(self.timings) > KEPT:
            self.timings.clear()
        self.seen |= batch.seen
        self.timings |= batch.timings
