"""The monitor at a chair: it measures once a second of real time, in a thread of its own, until it is unplugged."""

import threading
import time
from typing import Any

from deploy.local.day.clinic import FAST, Clinic, DayError
from shared.events.envelope import rfc3339

PACE_SECONDS = 1.0
JOIN_SECONDS = 20.0


class Monitor:
    """`interval_s` is what it declares: clinical seconds at the pace of the clock. `taken` counts what was stored of it."""

    def __init__(self, clinic: Clinic, device: str) -> None:
        self.device, self.interval_s, self.taken = device, FAST, 0
        self._clinic, self._systolic, self._number = clinic, 120.0, 0
        self._off, self._thread = threading.Event(), threading.Thread()

    def shows(self, systolic: float) -> None:
        """From now on; mm[Hg]."""
        self._systolic, self._number = systolic, 0

    def plug_in(self, path: str) -> None:
        """Sends to this path of monitoring."""
        self.taken, self._off = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(path, self._off), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Nothing of it is under way afterwards."""
        self._off.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)

    def _run(self, path: str, off: threading.Event) -> None:
        due = time.monotonic()
        try:
            while not off.wait(max(0.0, due - time.monotonic())):
                due += PACE_SECONDS
                self._measure(path)
        except Exception as error:  # noqa: BLE001 - the chairs hear of it where they wait
            self._clinic.fail(error)

    def _measure(self, path: str) -> None:
        body = {"readings": self._readings(), "interval_s": self.interval_s}
        results = self._clinic.call("device", "POST", "monitoring", path, body)["results"]
        if any(row["result"] != "stored" for row in results):
            raise DayError(f"{self.device} was answered {results}")
        self.taken += 1

    def _readings(self) -> list[dict[str, Any]]:
        """The values move a little, as those of a body do: the same for five minutes would be a flat line."""
        at, little = rfc3339(self._clinic.clock.clinical_now()), self._number % 2
        self._number += 1
        systolic = self._systolic - little
        signs = (
            ("8480-6", systolic, "mm[Hg]"),
            ("8462-4", systolic * 0.6, "mm[Hg]"),
            ("8867-4", 80 - little, "/min"),
            ("59408-5", 97 + little, "%"),
        )
        return [{"sign": s, "value": v, "unit": u, "taken_at": at, "device": self.device} for s, v, u in signs]
