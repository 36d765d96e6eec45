"""A sign's alarms judged again from what counts now, after somebody decided about a reading of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.monitoring.alarms import RuleState
from services.monitoring.combinations import Combination
from services.monitoring.episodes import Point
from services.monitoring.folding import EPOCH
from services.monitoring.limits import Limit, of_sign
from services.monitoring.model import ENDED, OPEN
from services.monitoring.replay import replay
from services.monitoring.store import ENGINES, counting_within
from services.monitoring.timing import TRUSTED
from services.monitoring.usecases import raising, scoring
from services.monitoring.usecases.deps import Deps
from services.monitoring.usecases.judging import Given, Judged, breaches
from services.monitoring.vitals import MANUAL, SIGNS, Moment, believed, counts_at, doubt_of, doubtful
from shared.persistence.mongo import Document, UnitOfWork

WINDOW, LONGEST = timedelta(minutes=15), timedelta(hours=2)


async def judge_again(unit: UnitOfWork, deps: Deps, session: Document, sign: str, around: datetime) -> None:
    """The sign's alarms from what counts now: an alarm without its breach is over, a breach without its alarm is told.

    So are those of combinations that the sign is part of. A raised alarm that still has a breach behind it stays as it
    is, whoever answered it.
    """
    if session["state"] not in OPEN:
        return
    judged = await _judged(unit, deps, session)
    now = unit.clock.clinical_now()
    again = _Again(unit, judged, around, now)
    counted = await again.sign(sign)
    for combination in judged.limits.combinations:
        if combination.has(sign):
            await again.combination(combination)
    value = counted[-1][1] if counted else 0.0
    for rule in (f"confirm:{sign}", f"implausible:{sign}"):
        await judged.doubt_decided(unit, rule, value)
    await again.doubts(sign)
    await judged.save(unit, now)


async def judge_ended(unit: UnitOfWork, deps: Deps, session: Document, row: Document) -> None:
    """A reading that is about to be moved to a session that ended: what it tells of the time before is told, and over."""
    ended_at = session.get("ended_at")
    if session["state"] not in ENDED or ended_at is None or counts_at(row) >= ended_at or not believed(row):
        return
    judged = await _judged(unit, deps, session)
    await judged.episode(unit, Given(row["sign"], row["value"], counts_at(row), row["device"]), ended=True)
    await judged.save(unit, unit.clock.clinical_now())


async def _judged(unit: UnitOfWork, deps: Deps, session: Document) -> Judged:
    engine, limits = await unit.collection(ENGINES).find_one({"_id": session["_id"]}), deps.limits(session)
    return Judged.of(session, limits, engine, deps.calm(limits))


@dataclass(frozen=True)
class _Again:
    """What is judged again, around a reading that was decided about."""

    unit: UnitOfWork
    judged: Judged
    around: datetime
    now: datetime

    async def sign(self, sign: str) -> list[Point]:
        """Returns the sign's readings that count."""
        mine = of_sign(self.judged.limits, sign)[0]
        since = self._since(mine)
        points = await self._counted(sign, since)
        for limit in mine:
            await self._settle(limit, points, since)
        return points

    async def doubts(self, sign: str) -> None:
        """A doubted value that nobody has decided about, and after which nothing was measured that answers it, asks again."""
        until = max(self.around, self.now) + TRUSTED
        rows = await counting_within(self.unit, self.judged.id, sign, self._since(()), until)
        valid = [row for row in rows if believed(row)]
        answers = {"implausible": valid, "confirm": [row for row in valid if not doubtful(sign, row["value"])]}
        newest = {kind: max(map(counts_at, found), default=EPOCH) for kind, found in answers.items()}
        for row in sorted(rows, key=counts_at):
            kind, at = doubt_of(row), counts_at(row)
            if kind and newest[kind] < at:
                given = Given(sign, row["value"], at, row["device"])
                await self.judged.asks(self.unit, given, row.get("quarantined"))

    async def combination(self, combination: Combination) -> None:
        mine = of_sign(self.judged.limits, combination.sign)[0]
        since = self._since(mine)
        newest: dict[str, dict[str, Moment]] = {part.sign: {} for part in combination.parts}
        counts: dict[datetime, float] = {}  # of one moment, when all that was measured in it is known
        for at, sign, value, device in await self._parts(combination, since):
            newest[sign][device] = (at, value)
            counts[at] = combination.count(newest, at)
        points = [(at, count, MANUAL) for at, count in counts.items()]
        for limit in mine:
            await self._settle(limit, points, since)

    async def _parts(self, combination: Combination, since: datetime) -> list[tuple[datetime, str, float, str]]:
        found: list[tuple[datetime, str, float, str]] = []
        for part in combination.parts:
            if part.sign in SIGNS:
                points = await self._counted(part.sign, since - timedelta(seconds=combination.within_s))
            else:
                points = await scoring.scores_of(self.unit, self.judged.id, part.sign)
            found += [(at, part.sign, value, device) for at, value, device in points]
        return sorted(found)

    def _since(self, limits: Sequence[Limit]) -> datetime:
        states = self.judged.states
        begun = [states[limit.name].breach_since for limit in limits if limit.name in states]
        return max(min([self.around - WINDOW, *begun]), self.now - LONGEST)

    async def _counted(self, sign: str, since: datetime) -> list[Point]:
        """Of several values for one moment the worse counts, until a human decides."""
        limits, found = self.judged.limits, dict[tuple[datetime, str], float]()
        until = max(self.around, self.now) + TRUSTED
        for row in await counting_within(self.unit, self.judged.id, sign, since, until):
            key, value = (counts_at(row), row["device"]), row["value"]
            if believed(row) and (
                key not in found or breaches(limits, sign, value) > breaches(limits, sign, found[key])
            ):
                found[key] = value
        return sorted((at, value, device) for (at, device), value in found.items())

    async def _settle(self, limit: Limit, points: Sequence[Point], since: datetime) -> None:
        name, judged = limit.name, self.judged
        old = judged.states.get(name)
        if old is not None and old.raised_at is not None:
            await self._stand(limit, old, points, since)
            return
        graver = judged.limits.covering[name]
        new, raised = replay(points, limit, await raising.stood(self.unit, judged.row, [limit, *graver]), self.now)
        if raised is not None and not self._covered(graver, raised.state.breach_since):
            state = new if new is not None and new.raised_at is not None else raised.state
            judged.states |= await raising.apply(self.unit, judged.row, {name: state}, [raised])
        elif new is None or new.track.head.since is None:
            judged.states.pop(name, None)
        else:
            judged.states[name] = replace(new, raised_at=None, alarm_since=None)

    async def _stand(self, limit: Limit, old: RuleState, points: Sequence[Point], since: datetime) -> None:
        """The alarm goes on with what counts now, or is over. One that is older than what is looked at is left alone."""
        if old.breach_since < since:
            return
        asked = limit.latched() if old.help_asked else limit
        new, _ = replay(points, asked, await raising.stood(self.unit, self.judged.row, [limit]), self.now)
        if new is not None and (new.raised_at is not None or new.track.head.since is not None):
            self.judged.states[limit.name] = replace(old, track=new.track)
            return
        await raising.clear(self.unit, self.judged.row, old.alarm_id or "", self.now, old.value)
        del self.judged.states[limit.name]

    def _covered(self, graver: Sequence[Limit], since: datetime) -> bool:
        """Whether an alarm stands that tells of it (ADR 19)."""
        states = self.judged.states
        standing = [
            states[item.name].alarm_since for item in graver if item.name in states and not item.quiet(self.now)
        ]
        return any(begun is not None and begun <= since for begun in standing)
