"""Whose a reading is, and whether it tells of now: by its session's name, or by its device and the time of measurement."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

from services.monitoring.recent import DeviceKey, Recent
from services.monitoring.schemas import Reading
from services.monitoring.store import heard_last, holders_before, holders_of
from services.monitoring.timing import BY_HAND, FORGOTTEN, SLACK, TRUSTED, Tells, Timing, told
from services.monitoring.vitals import MANUAL
from shared.persistence.mongo import Document, UnitOfWork

TRANSPORT_SECONDS = 2.0


def spans_of(readings: Iterable[Reading]) -> dict[str, tuple[datetime, datetime]]:
    """By device when its oldest and its newest reading were taken."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for reading in readings:
        device, taken_at = reading.device, reading.taken_at
        known = spans.get(device)
        if known is None:
            spans[device] = (taken_at, taken_at)
        elif not known[0] <= taken_at <= known[1]:
            spans[device] = (min(known[0], taken_at), max(known[1], taken_at))
    return spans


def by_wrong_clock(row: Document) -> Timing:
    """As whoever stored this reading knew its device."""
    return Timing(timedelta(seconds=row["clock_off_s"]), row["received_at"], "clock", row["received_at"])


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
        holders = iter(await self._holders(clinic_id, lost, arrived_at))
        return [name or next(holders) for name in named]

    async def _holders(self, clinic_id: str, readings: Sequence[Reading], arrived_at: datetime) -> list[str | None]:
        """Who had the device when the reading was taken; by a wrong clock, or before the first of them, who has it now."""
        present = await holders_of(self._unit, {(clinic_id, reading.device) for reading in readings})
        rows = [present.get((clinic_id, reading.device)) for reading in readings]
        found = [row["session_id"] if row else None for row in rows]
        earlier = self._earlier(clinic_id, readings, rows)
        late = {readings[place].device for place in earlier if rows[place]}
        if late:
            await self._recall(clinic_id, late, readings, arrived_at)
            earlier = self._earlier(clinic_id, readings, rows)
        if earlier:
            await self._ask_before(clinic_id, readings, earlier, found)
        return found

    def _earlier(self, clinic_id: str, readings: Sequence[Reading], rows: Sequence[Document | None]) -> list[int]:
        """The places of the readings that are of the time before who has the device now, if anybody has."""
        found: list[int] = []
        for place, (reading, row) in enumerate(zip(readings, rows, strict=True)):
            clock_wrong = self.timing(clinic_id, reading.device).tells == "clock"
            if row is None or (not clock_wrong and reading.taken_at < row["since"] - self.trusted):
                found.append(place)
        return found

    async def _recall(
        self, clinic_id: str, devices: Iterable[str], readings: Sequence[Reading], arrived_at: datetime
    ) -> None:
        """Whose clock is wrong as far as is stored: this process may have just started, or another heard the device last."""
        asked = {(clinic_id, device) for device in devices}
        rows = await heard_last(self._unit, asked, self.now - FORGOTTEN)
        known = {key: by_wrong_clock(row) for key, row in rows.items() if "clock_off_s" in row}
        concerned = [reading for reading in readings if (clinic_id, reading.device) in known]
        self._time_devices(clinic_id, concerned, arrived_at, known)

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

    def _time_devices(
        self,
        clinic_id: str,
        readings: Sequence[Reading],
        arrived_at: datetime,
        stored: Mapping[DeviceKey, Timing] = MappingProxyType({}),
    ) -> None:
        for device, (oldest, newest) in spans_of(readings).items():
            key = (clinic_id, device)
            before = stored.get(key) or self._learnt.timings.get(key) or self._recent.timings.get(key)
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
