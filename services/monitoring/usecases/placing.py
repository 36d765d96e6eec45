"""Whose a reading is, and whether it tells of now: by its session's name, or by its device and the time of measurement."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.monitoring.recent import Recent
from services.monitoring.schemas import Reading
from services.monitoring.store import holders_before, holders_of
from services.monitoring.timing import BY_HAND, SLACK, TRUSTED, Tells, Timing, told
from services.monitoring.vitals import MANUAL
from shared.persistence.mongo import UnitOfWork

TRANSPORT_SECONDS = 2.0


class Placing:
    """Of one batch; `learnt` gets the timing of each device."""

    def __init__(self, unit: UnitOfWork, recent: Recent, learnt: Recent) -> None:
        self._unit, self._recent, self._learnt = unit, recent, learnt
        self.now = unit.clock.clinical_now()
        self.trusted = max(TRUSTED, unit.clock.clinical_span(TRANSPORT_SECONDS))
        self._kept = 2 * self.trusted
        self._slack = max(SLACK, unit.clock.clinical_span(TRANSPORT_SECONDS))

    async def targets(
        self, clinic_id: str, session_id: str | None, readings: Sequence[Reading], arrived_at: datetime
    ) -> Sequence[str | None]:
        """The session of each reading; None where its device is assigned to none."""
        self._time_devices(clinic_id, readings, arrived_at)
        if session_id is not None:
            return [session_id] * len(readings)
        named: list[str | None] = [getattr(reading, "session_id", None) for reading in readings]
        lost = [reading for reading, name in zip(readings, named, strict=True) if name is None]
        if not lost:
            return named
        holders = iter(await self._holders(clinic_id, lost))
        return [name or next(holders) for name in named]

    async def _holders(self, clinic_id: str, readings: Sequence[Reading]) -> list[str | None]:
        """Who had the device when the reading was taken; by a wrong clock, or before the first of them, who has it now."""
        present = await holders_of(self._unit, {(clinic_id, reading.device) for reading in readings})
        found: list[str | None] = []
        earlier: list[int] = []
        for place, reading in enumerate(readings):
            row = present.get((clinic_id, reading.device))
            found.append(row["session_id"] if row else None)
            clock_wrong = self.timing(clinic_id, reading.device).tells == "clock"
            if row is None or (not clock_wrong and reading.taken_at < row["since"] - self.trusted):
                earlier.append(place)
        if earlier:
            await self._ask_before(clinic_id, readings, earlier, found)
        return found

    async def _ask_before(
        self, clinic_id: str, readings: Sequence[Reading], places: Sequence[int], found: list[str | None]
    ) -> None:
        devices = {(clinic_id, readings[place].device) for place in places}
        oldest = min(readings[place].taken_at for place in places)
        before = await holders_before(self._unit, devices, oldest - self.trusted)
        for place in places:
            at = readings[place].taken_at
            for row in before.get((clinic_id, readings[place].device), ()):
                if row["since"] - self.trusted <= at <= row["until"] + self.trusted:
                    found[place] = row["session_id"]
                    break

    def _time_devices(self, clinic_id: str, readings: Sequence[Reading], arrived_at: datetime) -> None:
        spans: dict[str, tuple[datetime, datetime]] = {}
        for reading in readings:
            device, taken_at = reading.device, reading.taken_at
            known = spans.get(device)
            if known is None:
                spans[device] = (taken_at, taken_at)
            elif not known[0] <= taken_at <= known[1]:
                spans[device] = (min(known[0], taken_at), max(known[1], taken_at))
        for device, (oldest, newest) in spans.items():
            key = (clinic_id, device)
            before = self._learnt.timings.get(key) or self._recent.timings.get(key)
            offset, span = arrived_at - newest, newest - oldest
            self._learnt.timings[key] = told(before, offset, span, arrived_at, self.trusted, self._slack)

    def timing(self, clinic_id: str, device: str) -> Timing:
        return self._learnt.timings[(clinic_id, device)]

    def tells(self, clinic_id: str, reading: Reading, arrived_at: datetime) -> Tells:
        """Of one reading; what is entered by hand has no clock of its own, and is typed in when there is time.

        How long it then waited for the store is no fault of its clock, and is too long where the engine has gone on.
        """
        offset = arrived_at - reading.taken_at
        if -self.trusted <= offset <= self.trusted:
            return "now" if self.now - reading.taken_at <= self._kept else "late"
        past = offset > timedelta(0)
        if reading.device == MANUAL:
            return "clock" if not past else "unsure" if offset <= BY_HAND else "late"
        found = self.timing(clinic_id, reading.device).tells
        return found if found != "now" else "late" if past else "clock"
