"""Pure: policy and state in, the next step out (clinical.md section 10). No clock, no store: time is an argument."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.protocols import Protocol

Phase = Literal["paging", "accepted", "attended", "ended"]
Addressee = Literal["responsible_nurse", "nurse", "prescriber", "medical_director", "operator"]
Rota = Mapping[str, Sequence[str]]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_RANK = {"low": 0, "medium": 1, "high": 2}


class Step(Protocol):
    """Whom to page, and when: clinical seconds after paging began."""

    role: Addressee
    after_s: Seconds


class Ladder(Protocol):
    """The steps of one priority. Without `repeat_after_s` the ladder ends after its last step.

    `attend_within_s`: an accepted page without anybody at the chair resumes after that time; None: it never does.
    `repeat_with_voice`: when the ladder repeats, people are called by voice too (clinical.md section 10).
    """

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    repeat_after_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    attend_within_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    repeat_with_voice: bool = False

    @model_validator(mode="after")
    def _ascends_from_zero(self) -> "Ladder":
        times = [step.after_s for step in self.steps]
        if times[0] != 0 or any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("steps begin at 0 s and ascend")
        return self


class Priorities(Protocol):
    high: Ladder
    medium: Ladder
    low: Ladder


class EscalationPolicy(Protocol):
    """protocols/escalation.yaml."""

    version: str
    priorities: Priorities
    old_after_s: Annotated[float, Field(gt=0)]

    def ladder(self, priority: str) -> Ladder:
        """A priority that this version does not know is treated as high."""
        return {"low": self.priorities.low, "medium": self.priorities.medium}.get(priority, self.priorities.high)


@dataclass(frozen=True)
class State:
    """Where one escalation stands.

    `base` is when the present run of paging began, `step` the last step taken in it (-1: none), counted on through the
    repetitions; `run` counts how often paging began. `asked_at` is when people were asked anew, `answered_at` when
    they answered last and `attended_at` when somebody was at the chair last, each as told by whoever did it: in whatever
    order they arrive, the newest counts.
    """

    phase: Phase
    priority: str
    base: datetime
    run: int = 0
    step: int = -1
    accepted_at: datetime | None = None
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    attended_at: datetime | None = None


@dataclass(frozen=True)
class Taken:
    """One step: whom it pages (staff ids); nobody at all means the fallback pager.

    `exhausted`: the ladder's end; `voice`: they are called by voice too.
    """

    state: State
    role: str
    people: tuple[str, ...]
    exhausted: bool
    voice: bool = False


@dataclass(frozen=True)
class Due:
    """The one timer that an escalation has."""

    kind: Literal["escalate", "not_attended"]
    at: datetime


def begin(priority: str, now: datetime, asked_at: datetime | None = None) -> State:
    return State("paging", priority, now, asked_at=asked_at)


def due_of_step(ladder: Ladder, base: datetime, number: int) -> datetime | None:
    """When step `number` is due if nobody accepts; None beyond the end of a ladder that does not repeat."""
    lap, place = divmod(number, len(ladder.steps))
    if lap and ladder.repeat_after_s is None:
        return None
    return base + timedelta(seconds=lap * _lap_s(ladder) + ladder.steps[place].after_s)


def _lap_s(ladder: Ladder) -> float:
    return ladder.steps[-1].after_s + (ladder.repeat_after_s or 0)


def without_missed_laps(policy: EscalationPolicy, state: State, now: datetime) -> State:
    """Of the laps that passed in an outage the last one is made up for: nobody is paged once for each of them."""
    ladder = policy.ladder(state.priority)
    due = due_of_step(ladder, state.base, state.step + 1)
    if due is None or ladder.repeat_after_s is None:
        return state
    missed = max(0, int((now - due).total_seconds() // _lap_s(ladder)))
    return replace(state, step=state.step + missed * len(ladder.steps))


def timer(policy: EscalationPolicy, state: State) -> Due | None:
    """What is due next in this state; None when nothing is."""
    ladder = policy.ladder(state.priority)
    if state.phase == "paging":
        at = due_of_step(ladder, state.base, state.step + 1)
        return Due("escalate", at) if at else None
    if state.phase == "accepted" and ladder.attend_within_s is not None and state.accepted_at is not None:
        return Due("not_attended", state.accepted_at + timedelta(seconds=ladder.attend_within_s))
    return None


def take(policy: EscalationPolicy, state: State, responsible: Sequence[Mapping[str, str]], rota: Rota) -> Taken:
    """The next step. One that reaches nobody falls through to the next at once, at the lap's end to the fallback pager."""
    ladder = policy.ladder(state.priority)
    number = state.step + 1
    last = number // len(ladder.steps) * len(ladder.steps) + len(ladder.steps) - 1
    while True:
        role = ladder.steps[number % len(ladder.steps)].role
        people = addressees(role, responsible, rota)
        if people or number == last:
            voice = ladder.repeat_with_voice and number >= len(ladder.steps)
            return Taken(replace(state, step=number), role, people, number == last, voice)
        number += 1


def addressees(role: str, responsible: Sequence[Mapping[str, str]], rota: Rota) -> tuple[str, ...]:
    """Staff ids, each once; the responsible prescriber comes before those on call."""
    own = {"responsible_nurse": "nurse", "prescriber": "prescriber"}.get(role)
    chosen = [person["staff_id"] for person in responsible if person["role"] == own]
    if role != "responsible_nurse":
        chosen += rota.get(role, ())
    return tuple(dict.fromkeys(chosen))


def accept(state: State, at: datetime, now: datetime) -> State:
    """Somebody is on the way: paging stops. Said before people were asked anew, or known already, it changes nothing."""
    known = state.phase == "paging" and state.answered_at is not None and at <= state.answered_at
    if known or state.phase == "ended" or _before(at, state.asked_at):
        return state
    answered = replace(state, answered_at=_later(state.answered_at, at))
    return replace(answered, phase="accepted", accepted_at=now) if state.phase == "paging" else answered


def attend(state: State, at: datetime) -> State:
    """Somebody is at the chair. Said before people were asked anew it changes nothing."""
    if state.phase == "ended" or _before(at, state.asked_at):
        return state
    newest = _later(state.answered_at, at), _later(state.attended_at, at)
    return replace(state, phase="attended", answered_at=newest[0], attended_at=newest[1])


def end(state: State) -> State:
    return replace(state, phase="ended")


def resume(state: State, now: datetime) -> State:
    """Accepted, but nobody came: from the first step again."""
    return _anew(state, now) if state.phase == "accepted" else state


def renew(state: State, at: datetime, now: datetime) -> State:
    """Acknowledged and still true at `at`: paging starts anew, unless it goes on or was answered since. What ended stays ended."""
    if state.phase == "ended":
        return state
    asked = _asked(state, at, now)
    return asked if state.phase == "paging" or asked.answered_at else _anew(asked, now)


def raise_to(policy: EscalationPolicy, state: State, priority: str, at: datetime, now: datetime) -> State:
    """Priority raised, or a person asked for help, at `at`: the second step of the higher ladder is due now.

    Answered since, it is of the higher priority and pages nobody.
    """
    if state.phase == "ended":
        return state
    higher = max(state.priority, priority, key=lambda name: _RANK.get(name, 2))
    asked = _asked(replace(state, priority=higher), at, now)
    if state.phase != "paging" and asked.answered_at:
        return asked
    steps = policy.ladder(higher).steps
    skipped = min(1, len(steps) - 1)
    return replace(_anew(asked, now), base=now - timedelta(seconds=steps[skipped].after_s), step=skipped - 1)


def _asked(state: State, at: datetime, now: datetime) -> State:
    """People were asked anew at `at`: what was answered before is forgotten; whoever accepted since need not be there yet."""
    asked = replace(state, asked_at=_later(state.asked_at, at))
    if not _before(at, state.answered_at):
        return replace(asked, answered_at=None)
    there = state.attended_at is not None and state.attended_at > at
    return asked if there or state.phase != "attended" else replace(asked, phase="accepted", accepted_at=now)


def _anew(state: State, now: datetime) -> State:
    return replace(state, phase="paging", base=now, run=state.run + 1, step=-1, accepted_at=None)


def _before(at: datetime, other: datetime | None) -> bool:
    return other is not None and at < other


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
