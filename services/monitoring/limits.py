"""What counts as a breach: a protocol's rules, resolved for one session's phase, baseline and own limits. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from services.monitoring.combinations import UNITS, Combination, Name
from shared.events.monitoring import Priority
from shared.protocols import Protocol, Sourced, Steps

Phase = Literal["baseline", "dosing", "recovery"]
Bounds = dict[str, tuple[float, float]]
EVERYTHING = (float("-inf"), float("inf"))
RANKS: dict[Priority, int] = {"low": 0, "medium": 1, "high": 2}
PHASES: tuple[Phase, ...] = ("baseline", "dosing", "recovery")


class Rule(Protocol):
    """One limit of one sign, inclusive, in the sign's unit; relative ones in percent of the session's baseline.

    `delay_s` and `normal_s` are clinical seconds. A change of `jump` or more from the reading before bypasses the delay.
    `normal_s`: how long the sign must be back before the alarm can clear. `pages=False`: the board shows it, nobody is paged.
    """

    name: Name
    sign: str
    above: float | None = None
    below: float | None = None
    rise_percent: float | None = Field(default=None, gt=0)
    fall_percent: float | None = Field(default=None, gt=0)
    priority: Priority
    delay_s: float = Field(ge=0)
    hysteresis: float = Field(ge=0)
    jump: float | None = Field(default=None, gt=0)
    normal_s: float = Field(default=0, ge=0)
    pages: bool = True
    phases: tuple[Phase, ...] = PHASES

    @model_validator(mode="after")
    def _has_one_limit(self) -> "Rule":
        if sum(limit is not None for limit in (self.above, self.below, self.rise_percent, self.fall_percent)) != 1:
            raise ValueError("a rule has exactly one of above, below, rise_percent, fall_percent")
        return self

    @property
    def high(self) -> bool:
        """Whether the breach lies above the bound."""
        return self.above is not None or self.rise_percent is not None


def is_collapse(rule: Rule) -> bool:
    """Latched until the sign was normal for a while and a human accepted (clinical.md 10); never loosened, never quiet."""
    return rule.normal_s > 0


class LimitSet(Sourced):
    """protocols/limits/*.yaml; a session protocol names the version that it uses."""

    version: str
    rules: Sequence[Rule]
    combinations: Sequence[Combination] = ()

    def at_odds(self) -> Iterator[tuple[Steps, str]]:
        """Rules of what nobody measures."""
        return strangers(self.rules, self.combinations)


def strangers(rules: Sequence[Rule], combinations: Sequence[Combination]) -> Iterator[tuple[Steps, str]]:
    """Rules of a sign that is none, nor one of these combinations: they would never be broken."""
    signs = {*UNITS, *(item.sign for item in combinations)}
    for number, rule in enumerate(rules):
        if rule.sign not in signs:
            yield ("rules", number, "sign"), "is not a known sign"


@dataclass(frozen=True)
class Limit:
    """A rule as it holds for one session now: `high` says on which side of `bound` the breach lies.

    Until `suppressed_until` it raises and renews nothing; a breach that outlasts it is told then.
    """

    rule: Rule
    high: bool
    bound: float
    suppressed_until: datetime | None = None

    @property
    def name(self) -> str:
        return self.rule.name

    def breached(self, value: float) -> bool:
        return value >= self.bound if self.high else value <= self.bound

    def worse(self, value: float, other: float) -> bool:
        return value > other if self.high else value < other

    def covers(self, other: "Limit") -> bool:
        """Whether an alarm of this limit tells all that one of the other would: same sign and side, no less grave."""
        if self.rule.sign != other.rule.sign or self.high != other.high or self.bound == other.bound:
            return False
        graver = RANKS[self.rule.priority] >= RANKS[other.rule.priority]
        return graver and (self.rule.pages or not other.rule.pages) and other.breached(self.bound)

    def jumped(self, before: float, value: float) -> bool:
        """Whether the change bypasses the delay."""
        jump = self.rule.jump
        return jump is not None and (value - before if self.high else before - value) >= jump

    def quiet(self, at: datetime) -> bool:
        return self.suppressed_until is not None and at < self.suppressed_until

    def latched(self) -> "Limit":
        """As it holds for an alarm for which somebody called for help: of high priority."""
        return replace(self, rule=self.rule.model_copy(update={"priority": "high"}))

    def back(self, value: float) -> bool:
        """Within the limit by more than the hysteresis."""
        if self.high:
            return value < self.bound - self.rule.hysteresis
        return value > self.bound + self.rule.hysteresis


OfSign = tuple[tuple[Limit, ...], float, float]
NO_LIMIT: OfSign = ((), *EVERYTHING)


class Limits(tuple[Limit, ...]):  # noqa: SLOT001 - what is found by sign is kept beside it
    """Those of one session now, found by their sign at once; with the combinations that some of them speak of."""

    combinations: tuple[Combination, ...] = ()

    def only(self, counts: Callable[[Limit], bool]) -> "Limits":
        """Some of them; an alarm of one that is left out still speaks for a milder one that is not."""
        found = Limits(limit for limit in self if counts(limit))
        found.combinations, found.covering = self.combinations, self.covering
        return found

    @cached_property
    def by_sign(self) -> dict[str, OfSign]:
        """The gravest first, with the values between which, ends excluded, none of the sign's limits is broken."""
        bounds = bounds_of(self)
        return {
            sign: (tuple(sorted((item for item in self if item.rule.sign == sign), key=_gravest_first)), *bounds[sign])
            for sign in bounds
        }

    @cached_property
    def covering(self) -> dict[str, tuple[Limit, ...]]:
        """By rule name the limits of which an alarm tells all that one of this rule would."""
        return {limit.name: tuple(item for item in self if item.covers(limit)) for limit in self}

    @cached_property
    def stirred_by(self) -> dict[str, tuple[str, ...]]:
        """By sign the rules that a reading of it may end: its own, and those of combinations that it is part of."""
        joined = [(part.sign, item.sign) for item in self.combinations for part in item.parts]
        signs = {sign for sign, _ in joined} | set(self.by_sign)
        return {
            sign: tuple(limit.name for limit in self if limit.rule.sign == sign or (sign, limit.rule.sign) in joined)
            for sign in signs
        }


def _gravest_first(limit: Limit) -> tuple[int, float]:
    return -RANKS[limit.rule.priority], -limit.bound if limit.high else limit.bound


def resolved(limits: Sequence[Limit]) -> Limits:
    return limits if isinstance(limits, Limits) else Limits(limits)


def of_sign(limits: Sequence[Limit], sign: str) -> OfSign:
    return resolved(limits).by_sign.get(sign, NO_LIMIT)


def broken(limits: Sequence[Limit], sign: str, value: float) -> list[Limit]:
    return [limit for limit in of_sign(limits, sign)[0] if limit.breached(value)]


def limits(
    rules: Sequence[Rule],
    phase: Phase,
    baseline: Mapping[str, float],
    own: Mapping[str, float] | None = None,
    suppressed: Mapping[str, datetime] | None = None,
    combinations: Sequence[Combination] = (),
) -> Limits:
    """The limits of a phase; `baseline` by LOINC code, `own` bounds by rule name, set for this session by a prescriber.

    `suppressed`: by rule name until when.
    """
    found = []
    for rule in rules:
        bound = (own or {}).get(rule.name, _bound(rule, baseline))
        if phase in rule.phases and bound is not None:
            found.append(Limit(rule, rule.high, bound, (suppressed or {}).get(rule.name)))
    of_phase = Limits(found)
    of_phase.combinations = tuple(combinations)
    return of_phase


def _bound(rule: Rule, baseline: Mapping[str, float]) -> float | None:
    """None for a relative rule without a baseline."""
    if rule.above is not None or rule.below is not None:
        return rule.above if rule.above is not None else rule.below
    before = baseline.get(rule.sign)
    if before is None:
        return None
    change = rule.rise_percent if rule.rise_percent is not None else -(rule.fall_percent or 0.0)
    return round(before * (1 + change / 100), 3)


def bounds_of(limits: Sequence[Limit]) -> Bounds:
    """By sign the values between which, ends excluded, none of these limits is broken."""
    found: Bounds = {}
    for limit in limits:
        low, high = found.get(limit.rule.sign, EVERYTHING)
        found[limit.rule.sign] = (low, min(high, limit.bound)) if limit.high else (max(low, limit.bound), high)
    return found
