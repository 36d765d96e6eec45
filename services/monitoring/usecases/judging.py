"""One session's readings within a batch: what the engine makes of them, and what they say of the measuring itself."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.monitoring.alarms import RuleState, Transition, evaluate, tick, told_since
from services.monitoring.combinations import ByDevice, Part, concerned
from services.monitoring.engines import engine_of, kept, restored, states_of
from services.monitoring.episodes import JUMP_WINDOW, SPAN, Point, reaches
from services.monitoring.limits import EVERYTHING, Bounds, Limit, Limits, broken
from services.monitoring.model import OPEN
from services.monitoring.schemas import Reading
from services.monitoring.signals import wrong_clocks
from services.monitoring.store import (
    ALARMS,
    BACKLOGS,
    ENGINES,
    SESSIONS,
    counting_within,
    newest_arrived,
    newest_of,
    readings_within,
)
from services.monitoring.timing import TRUSTED
from services.monitoring.usecases import raising
from services.monitoring.vitals import HOLDS, MANUAL, SIGNS, believed, confirmed_beyond, counts_at, doubt_of
from shared.events.monitoring import SignRef
from shared.ids import new_id
from shared.persistence.mongo import Document, UnitOfWork

INSTANT = timedelta(milliseconds=1)
Known = dict[str, list[Point]]


@dataclass(frozen=True)
class Given:
    """A believed reading as the engine sees it; what a human found is measured by hand."""

    sign: str
    value: float
    at: datetime
    device: str = MANUAL


def _by_device(part: Part, points: Sequence[Point]) -> ByDevice:
    """The newest of each; of one moment the finding, for of two values the worse counts until a human decides."""
    ordered = sorted(points, key=lambda point: (point[0], part.found(point[1])))
    return {device: (at, value) for at, value, device in ordered}


def breaches(limits: Sequence[Limit], sign: str, value: float) -> int:
    """How many of the limits it breaks: of two values for one moment the one that breaks more is the worse."""
    return sum(limit.rule.sign == sign and limit.breached(value) for limit in limits)


@dataclass
class Judged:
    """`technical`: the open alarms about the measuring, by rule. `late`: breaches within a backlog that no alarm tells yet.

    `touched`: something was stirred, if only for a moment, so what another delivery told meanwhile would matter.
    """

    row: Document
    limits: Limits
    before: dict[str, RuleState]
    signals: dict[str, Document]
    states: dict[str, RuleState]
    technical: dict[str, str]
    bounds: Bounds
    late: dict[str, RuleState] | None = None
    touched: bool = False
    anew: bool = False
    previous: Known = field(default_factory=dict)
    previous_late: Known = field(default_factory=dict)
    changes: dict[str, str | None] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, row: Document, limits: Limits, engine: Document | None, bounds: Bounds) -> "Judged":
        states = states_of(engine)
        signals = dict(engine["signals"]) if engine else {}
        technical = dict(row.get("technical") or {})
        return cls(row, limits, states, signals, dict(states), technical, bounds)

    @property
    def id(self) -> str:
        return str(self.row["_id"])

    def at_rest(self, sign: str, value: float) -> bool:
        """No rule of the sign is stirred, and the value stirs none."""
        low, high = self.bounds.get(sign, EVERYTHING)
        if not low < value < high:
            return False
        return not self.states or not any(name in self.states for name in self.limits.stirred_by.get(sign, ()))

    def calm(self, sign: str, value: float) -> bool:
        """Watched, and nothing about it or its measuring is stirred: most readings of most sessions."""
        return not self.technical and self.row["state"] in OPEN and self.at_rest(sign, value)

    def after(self, sign: str, at: datetime) -> datetime:
        """As late as that, and later than all that is kept of the sign: of two notes the one that came later counts."""
        known = [
            self.states[limit.name].at for limit in self.limits if limit.rule.sign == sign and limit.name in self.states
        ]
        return max([at, *(moment + INSTANT for moment in known)])

    async def now(self, unit: UnitOfWork, given: Given) -> None:
        """Judge a reading of now, and what it makes together with others."""
        await self._evaluate(unit, given, await self._earlier(unit, given, self.states))
        for counted in await self._combined(unit, given, self.states, [self.previous]):
            await self._evaluate(unit, counted, [])

    async def _combined(
        self, unit: UnitOfWork, given: Given, states: Mapping[str, RuleState], known: Sequence[Known]
    ) -> list[Given]:
        """What a reading makes together with the others that were newest by then."""
        stirred, found = {limit.rule.sign for limit in self.limits if limit.name in states}, []
        for combination in concerned(self.limits.combinations, given.sign, given.value, stirred):
            since = given.at - timedelta(seconds=combination.within_s)
            newest = {part.sign: await self._newest(unit, part, given, since, known) for part in combination.parts}
            found.append(Given(combination.sign, combination.count(newest, given.at), given.at))
        return found

    async def _evaluate(
        self, unit: UnitOfWork, given: Given, earlier: Sequence[Point], limits: Sequence[Limit] | None = None
    ) -> None:
        judged, before = self.limits if limits is None else limits, self.states
        self.states, found = evaluate(before, given.sign, given.value, given.at, judged, earlier, given.device)
        self.touched |= self.states is not before
        if found:
            # Kept with their ids before the next reading is judged: a clear in the same batch needs the id.
            self.states = await raising.apply(unit, self.row, self.states, found)

    async def _newest(
        self, unit: UnitOfWork, part: Part, given: Given, since: datetime, known: Sequence[Known]
    ) -> ByDevice:
        """The newest value of a sign by device, as of this reading; of a scale as it was noted last.

        What is older than `since` is too old. Other devices are asked for where nothing is found without them.
        """
        sign = part.sign
        if sign not in SIGNS and sign != given.sign:
            score = (self.row.get("scores") or {}).get(sign)
            return {MANUAL: (score["at"], score["value"])} if score and score["at"] <= given.at else {}
        points = [point for one in known for point in one.get(sign, ()) if point[0] <= given.at]
        if sign == given.sign:
            points.append((given.at, given.value, given.device))
        else:
            points += await self._stored(unit, sign, given.at, since)
        told = part.telling(_by_device(part, points))
        if told is not None and not part.found(told[1]) and sign in SIGNS:
            points += await self._beside(unit, sign, told[0] - HOLDS, given.at)
        return _by_device(part, points)

    async def _stored(self, unit: UnitOfWork, sign: str, until: datetime, since: datetime) -> list[Point]:
        """The sign's newest reading that is stored, and of devices with a wrong clock the newest to arrive."""
        row = await newest_of(unit, self.id, sign, until)
        found = [(row["taken_at"], row["value"], row["device"])] if row and "clock_off_s" not in row else []
        wrong = wrong_clocks(self.technical)
        arrived = await newest_arrived(unit, self.id, sign, wrong, since, until) if wrong else None
        if arrived is not None:
            found.append((arrived["received_at"], arrived["value"], arrived["device"]))
        return found

    async def _beside(self, unit: UnitOfWork, sign: str, since: datetime, until: datetime) -> list[Point]:
        """The sign's readings of a few seconds that are stored and count, by the time at which they count."""
        rows = await readings_within(unit, self.id, sign, since, until)
        return [(counts_at(row), row["value"], row["device"]) for row in rows if believed(row)]

    async def knows_newer(self, unit: UnitOfWork, reading: Reading) -> bool:
        """Whether the sign was measured after this reading, as far as is stored."""
        row = await newest_of(unit, self.id, reading.sign, unit.clock.clinical_now() + TRUSTED)
        return row is not None and row["taken_at"] > reading.taken_at and "clock_off_s" not in row

    def seen(self, sign: str, value: float, at: datetime, device: str) -> None:
        """Within this batch; the store does not have it yet."""
        self.previous.setdefault(sign, []).append((at, value, device))

    async def _earlier(self, unit: UnitOfWork, given: Given, states: Mapping[str, RuleState]) -> list[Point]:
        """The sign's readings around this one, asked for only where a rule begins to keep its own.

        Those that came late too: the seconds that count as now cut no episode in two.
        """
        known = [*self.previous_late.get(given.sign, []), *self.previous.get(given.sign, [])]
        begins = any(limit.name not in states for limit in broken(self.limits, given.sign, given.value))
        if begins:
            stored = await self._beside(unit, given.sign, given.at - JUMP_WINDOW, given.at + SPAN)
            known = [*stored, *known]
        return [point for point in known if given.at - JUMP_WINDOW <= point[0]]

    async def episode(self, unit: UnitOfWork, given: Given, *, ended: bool = False) -> None:
        """Judge a reading of a backlog by the times at which it was taken, beside what is judged now.

        An episode that lasted long enough is an alarm, once; the alarm is then like one of now. After the session's end
        it is told and over at the same time, for nobody watches any more. A rule that keeps readings of that time goes on
        with this one.
        """
        if self.late is None:
            self.late = await self._backlog(unit, given.at)
        await self._late(unit, given, ended=ended)
        for counted in await self._combined(unit, given, self.late, [self.previous_late, self.previous]):
            await self._late(unit, counted, ended=ended)

    async def by_itself(self, unit: UnitOfWork, given: Given, *, anew: bool = False) -> set[str]:
        """Judge what a human wrote down late, beside a backlog of readings on its way; the rules whose alarms now stand for it.

        `anew`: also what an alarm that is over has told, for it was withdrawn since.
        """
        standing, backlog = self._standing(), self.late
        self.late, self.anew = {}, anew
        await self.episode(unit, given)
        self.late, self.anew = backlog, False
        return self._standing() - standing

    def _standing(self) -> set[str]:
        return {name for name, state in self.states.items() if state.raised_at is not None}

    async def _late(self, unit: UnitOfWork, given: Given, *, ended: bool) -> None:
        before = self.late or {}
        mine = self.limits.only(lambda limit: limit.rule.sign == given.sign)
        going_on = mine.only(lambda limit: not ended and self._keeps(limit, given.at))
        await self._evaluate(unit, given, [], going_on)
        standing = self._standing()
        limits = mine.only(lambda limit: limit not in going_on and limit.name not in standing)
        earlier = await self._earlier(unit, given, before)
        self.previous_late.setdefault(given.sign, []).append((given.at, given.value, given.device))
        waited, by_time = tick(before, given.at, limits)  # as live ones would have, for nothing was measured between
        self.late, found = evaluate(waited, given.sign, given.value, given.at, limits, earlier, given.device)
        self.touched |= self.late is not waited or bool(by_time)
        for transition in (*by_time, *found):
            await self._tell_episode(unit, transition, ended=ended)

    def _keeps(self, limit: Limit, at: datetime) -> bool:
        """Whether the rule is stirred, without an alarm, and a reading of this time has its place among what it keeps."""
        state = self.states.get(limit.name)
        return state is not None and state.raised_at is None and reaches(state.track, at)

    async def _backlog(self, unit: UnitOfWork, at: datetime) -> dict[str, RuleState]:
        """What the deliveries before left behind, if this one goes on where they ended."""
        row = await unit.collection(BACKLOGS).find_one({"_id": self.id})
        states = restored(row["rules"], row.get("devices") or {}) if row else {}
        return {name: state for name, state in states.items() if abs(at - state.at) <= JUMP_WINDOW}

    async def _tell_episode(self, unit: UnitOfWork, transition: Transition, *, ended: bool) -> None:
        name = transition.limit.name
        after, state = (self.late or {}).pop(name, None), transition.state
        if after is not None:
            state = after if after.raised_at is not None else replace(state, track=after.track)
        if transition.kind != "raised" or self._spoken_for(transition) or await self._told_before(unit, transition):
            return
        raised = await raising.apply(unit, self.row, {name: state}, [transition])
        if transition.over:
            return
        if ended:
            alarm_id = raised[name].alarm_id or ""
            await raising.clear(unit, self.row, alarm_id, unit.clock.clinical_now(), state.value)
        else:
            self.states[name] = raised[name]

    def _spoken_for(self, transition: Transition) -> bool:
        """The alarm of a graver limit stands, raised for now and begun no later (ADR 19)."""
        begun = told_since(self.states, self.limits.covering[transition.limit.name], transition.at)
        return begun is not None and begun <= transition.state.breach_since

    async def _told_before(self, unit: UnitOfWork, transition: Transition) -> bool:
        """Another alarm of this rule stands, or this very one was raised and is over."""
        known: list[Document] = [{"open": True}]
        if not self.anew:
            known.append({"_id": raising.alarm_id_of(self.row, transition)})
        query = {"session_id": self.id, "rule": transition.limit.name, "$or": known}
        return bool(await unit.collection(ALARMS).count(query, limit=1))

    def caught_up(self, now: datetime) -> None:
        """The backlog has reached the present: a breach that it ended with goes on as one of now."""
        for name, state in (self.late or {}).items():
            if now - state.at <= TRUSTED:
                self.states.setdefault(name, state)
        if self.late is not None:
            self.late = {}

    async def asks(self, unit: UnitOfWork, given: Given, reason: str | None) -> None:
        """Raise what asks a human about a value that is not believed, for this reason, or is to be confirmed; no collapse is."""
        if reason is None:
            await self.to_confirm(unit, given)
            return
        bounds = SIGNS[given.sign]
        limit = bounds.lowest if reason == "below_bound" else bounds.highest
        await self.doubt(unit, f"implausible:{given.sign}", given, limit, pages=True, why=reason)

    async def doubt(self, unit: UnitOfWork, rule: str, given: Given, bound: float, *, pages: bool, why: str) -> None:
        """Raise the technical alarm of a value that asks for a human, unless it stands already."""
        if rule in self.technical:
            return
        sign = SignRef(sign=given.sign, value=given.value, unit=SIGNS[given.sign].unit, limit=bound)
        await self._raise(unit, rule, value=given.value, signs=[sign], pages=pages, reason=why, doubted_at=given.at)

    async def to_confirm(self, unit: UnitOfWork, given: Given, *, ended: bool = False) -> None:
        """The alarm of a value that a human is to confirm, on the board at once.

        Where a limit is broken too, its alarm pages after its delay. After the session's end it is paged, over at the same
        time, and told once: the rule stays noted in the session, as one does that stood until the end.
        """
        rule, bound = f"confirm:{given.sign}", confirmed_beyond(given.sign, given.value)
        if bound is None or rule in self.technical:
            return
        pages = ended or not breaches(self.limits, given.sign, given.value)
        await self.doubt(unit, rule, given, bound, pages=pages, why="confirm")
        if ended:
            await raising.clear(unit, self.row, self.technical[rule], unit.clock.clinical_now(), given.value)

    async def clock_wrong(self, unit: UnitOfWork, device: str, offset: timedelta) -> None:
        """The device's clock is off; told once."""
        rule = f"clock:{device}"
        if rule not in self.technical:
            seconds = round(offset.total_seconds(), 3)
            await self._raise(unit, rule, value=seconds, signs=[], pages=True, device=device, offset_s=seconds)

    async def _raise(self, unit: UnitOfWork, rule: str, **facts: object) -> None:
        alarm_id = await raising.technical(unit, self.row, rule, **facts)  # type: ignore[arg-type]
        self.technical[rule] = self.changes[rule] = alarm_id

    async def doubt_over(self, unit: UnitOfWork, rule: str, value: float, at: datetime | None = None) -> None:
        """`at`: when the value was measured that ends it; one that is no newer than what was doubted says nothing of it."""
        alarm_id = self.technical.get(rule)
        if alarm_id is None or (at is not None and await self._doubted_since(unit, rule, alarm_id, at)):
            return
        if await raising.end_technical(unit, self.row, alarm_id, value):
            del self.technical[rule]
            self.changes[rule] = None

    async def _doubted_since(self, unit: UnitOfWork, rule: str, alarm_id: str, at: datetime) -> bool:
        """Whether a value like the one that raised the alarm was measured then or later; that one is maybe not stored yet."""
        if at <= await raising.doubted_at(unit, alarm_id):
            return True
        kind, _, sign = rule.partition(":")
        rows = await readings_within(unit, self.id, sign, at, unit.clock.clinical_now() + TRUSTED)
        return any(doubt_of(row) == kind for row in rows)

    async def doubt_decided(self, unit: UnitOfWork, rule: str, value: float) -> None:
        """Over by what people decided, once of all that was doubted since the alarm's value nothing is left."""
        alarm_id = self.technical.get(rule)
        if alarm_id is None:
            return
        kind, _, sign = rule.partition(":")
        since, until = await raising.doubted_at(unit, alarm_id), unit.clock.clinical_now() + TRUSTED
        rows = await counting_within(unit, self.id, sign, since, until)
        if not any(doubt_of(row) == kind for row in rows):
            await self.doubt_over(unit, rule, value)

    async def forget(self, unit: UnitOfWork, sign: str, now: datetime, left: Collection[str]) -> None:
        """What was told of a sign and was never so is over, answered or not. `left`: rules of which something is left."""
        for name in self.limits.stirred_by.get(sign, ()):
            state = None if name in left else self.states.pop(name, None)
            if state is not None and state.alarm_id is not None:
                await raising.clear(unit, self.row, state.alarm_id, now, state.value)

    @property
    def stirred(self) -> bool:
        """Whether there is anything to save; of most sessions there is not."""
        back = not self.heard.isdisjoint(self.signals)
        return back or self.touched or self.late is not None or bool(self.changes) or self.states != self.before

    async def save(self, unit: UnitOfWork, now: datetime) -> None:
        """The engine only where something is not at rest or was not, even for a moment.

        `turn` is another each time: two deliveries that touched at the same moment, each without the other's readings, must
        not both be committed. The second is judged again and sees the whole episode.
        """
        back = sorted(self.heard & set(self.signals))
        for device in back:
            if await raising.restore_signal(unit, self.row, self.signals[device], now):
                del self.signals[device]
        turn = {"turn": new_id()}
        if (self.touched and self.row["state"] in OPEN) or self.states != self.before or back:
            await unit.collection(ENGINES).put(engine_of(self.id, self.states, self.signals) | turn)
        if self.late is not None and (self.late or self.touched):
            rules, devices = kept(self.late)
            about = {"_id": self.id, "schema_version": 1, "rules": rules, "devices": devices}
            await unit.collection(BACKLOGS).put(about | turn)
        elif self.late is not None:
            await unit.collection(BACKLOGS).discard({"_id": self.id})
        if self.changes:
            stand = {f"technical.{rule}": alarm_id for rule, alarm_id in self.changes.items() if alarm_id}
            gone = {f"technical.{rule}": "" for rule, alarm_id in self.changes.items() if not alarm_id}
            change = ({"$set": stand} if stand else {}) | ({"$unset": gone} if gone else {})
            await unit.collection(SESSIONS).change({"_id": self.id}, change)
