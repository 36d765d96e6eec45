"""The escalation policy is pure: steps, times and transitions, as properties."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.notifications
from services.notifications import escalation as rules
from services.notifications.escalation import EscalationPolicy, Ladder, State
from shared.protocols import load

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICY = load(Path(services.notifications.__file__).parent / "protocols" / "escalation.yaml", EscalationPolicy)
RESPONSIBLE = [{"role": "nurse", "staff_id": "n1"}, {"role": "clinician", "staff_id": "c1"}]
ROTA = {"nurse": ["n1", "n2"], "prescriber": ["p1"], "medical_director": ["d1"]}
priorities = st.sampled_from(["high", "medium", "low"])
rotas = st.fixed_dictionaries({role: st.lists(st.sampled_from("abcd"), max_size=2) for role in ROTA})
states = st.builds(
    State,
    phase=st.sampled_from(["paging", "accepted", "attended", "ended"]),
    priority=priorities,
    base=st.just(NOW),
    run=st.integers(0, 3),
    step=st.integers(-1, 12),
    accepted_at=st.just(NOW),
)


def test_high_priority_takes_the_steps_of_the_protocol() -> None:
    state, seen = rules.begin("high", NOW), []
    for _ in range(5):
        due = rules.timer(POLICY, state)
        assert due is not None
        taken = rules.take(POLICY, state, RESPONSIBLE, ROTA)
        seen.append(((due.at - NOW).total_seconds(), taken.role, taken.people, taken.exhausted, taken.voice))
        state = taken.state
    assert seen == [
        (0, "responsible_nurse", ("n1",), False, False),
        (30, "nurse", ("n1", "n2"), False, False),
        (60, "prescriber", ("p1",), False, False),
        (120, "medical_director", ("d1",), True, False),
        (150, "responsible_nurse", ("n1",), False, True),
    ]


@pytest.mark.parametrize(("rota", "expected"), [({"prescriber": ["p1"]}, ("p1",)), ({}, ())])
def test_a_step_that_reaches_nobody_falls_through_at_once(
    rota: dict[str, list[str]], expected: tuple[str, ...]
) -> None:
    assert rules.take(POLICY, rules.begin("high", NOW), [], rota).people == expected


@given(priorities, rotas, st.integers(1, 20))
def test_steps_ascend_and_only_a_lap_without_anybody_pages_nobody(
    priority: str, rota: dict[str, list[str]], count: int
) -> None:
    state, last = rules.begin(priority, NOW), NOW - timedelta(seconds=1)
    for _ in range(count):
        due = rules.timer(POLICY, state)
        if due is None:
            assert POLICY.ladder(priority).repeat_after_s is None
            return
        assert due.at > last
        taken = rules.take(POLICY, state, [], rota)
        assert taken.state.step > state.step
        assert taken.people or taken.exhausted
        state, last = taken.state, due.at


@given(priorities)
def test_high_and_medium_page_for_ever(priority: str) -> None:
    assert (rules.due_of_step(POLICY.ladder(priority), NOW, 10_000) is None) == (priority == "low")


@given(states)
def test_accepted_attended_and_ended_page_nobody(state: State) -> None:
    for quiet in (rules.accept(state, NOW, NOW), rules.attend(state, NOW), rules.end(state)):
        due = rules.timer(POLICY, quiet)
        assert quiet.phase != "paging"
        assert due is None or due.kind == "not_attended"


@given(states)
def test_what_ended_never_pages_again(state: State) -> None:
    ended = rules.end(state)
    assert rules.resume(ended, NOW) == rules.renew(ended, NOW, NOW) == ended
    assert rules.raise_to(POLICY, ended, "high", NOW, NOW) == ended


@given(states)
def test_resuming_and_renewing_begin_at_the_first_step_of_a_new_run(state: State) -> None:
    accepted = replace(state, phase="accepted")
    for anew in (rules.resume(accepted, NOW), rules.renew(accepted, NOW, NOW)):
        assert (anew.phase, anew.run, anew.step) == ("paging", state.run + 1, -1)
        assert rules.timer(POLICY, anew) == rules.Due("escalate", NOW)


def test_accepted_is_not_attended() -> None:
    accepted = rules.accept(rules.begin("high", NOW), NOW, NOW)
    assert rules.timer(POLICY, accepted) == rules.Due("not_attended", NOW + timedelta(seconds=60))
    assert rules.timer(POLICY, rules.accept(rules.begin("medium", NOW), NOW, NOW)) is None
    assert rules.timer(POLICY, rules.attend(accepted, NOW)) is None


@given(states, priorities)
def test_raising_never_lowers_and_is_due_now(state: State, priority: str) -> None:
    raised = rules.raise_to(POLICY, state, priority, NOW, NOW)
    rank = ["low", "medium", "high"].index
    assert rank(raised.priority) >= max(rank(state.priority), rank(priority)) or state.phase == "ended"
    if state.phase != "ended":
        due = rules.timer(POLICY, raised)
        assert due is not None
        assert due.at == NOW


ACTS: dict[str, Callable[[State, datetime, datetime], State]] = {
    "accepted": rules.accept,
    "attended": lambda state, at, _: rules.attend(state, at),
    "renewed": rules.renew,
    "help": lambda state, at, now: rules.raise_to(POLICY, state, "high", at, now),
}


@pytest.mark.parametrize("asked", ["renewed", "help"])
@pytest.mark.parametrize(
    ("answers", "phase"),
    [([], "paging"), (["accepted"], "accepted"), (["accepted", "attended"], "attended")],
    ids=["not answered", "accepted", "attended"],
)
def test_in_whatever_order_it_arrives_the_newest_counts(asked: str, answers: list[str], phase: str) -> None:
    """An alarm is accepted and attended, people are asked anew, and perhaps answer."""
    said = [(name, NOW + timedelta(seconds=no)) for no, name in enumerate(["accepted", "attended", asked, *answers])]
    for order in permutations(said):
        state = rules.begin("medium", NOW)
        for number, (name, at) in enumerate(order):
            state = ACTS[name](state, at, NOW + timedelta(seconds=10 + number))
        assert (state.phase, state.priority) == (phase, "high" if asked == "help" else "medium"), order


def test_an_acceptance_that_is_told_again_stops_nothing_that_was_resumed_since() -> None:
    accepted = rules.accept(rules.begin("high", NOW), NOW, NOW)
    resumed = rules.resume(accepted, NOW + timedelta(seconds=60))
    assert rules.accept(resumed, NOW, NOW + timedelta(seconds=61)) == resumed
    later = NOW + timedelta(seconds=62)
    assert rules.accept(resumed, later, later).phase == "accepted"


def test_an_unknown_priority_is_high() -> None:
    assert POLICY.ladder("unknown") == POLICY.priorities.high


@pytest.mark.parametrize("times", [[5, 10], [0, 10, 10], [0, 20, 10], []])
def test_a_ladder_that_does_not_ascend_from_zero_is_refused(times: list[int]) -> None:
    with pytest.raises(ValueError, match="steps"):
        Ladder.model_validate({"steps": [{"role": "nurse", "after_s": time} for time in times]})


@given(priorities, st.integers(-1, 12), st.integers(0, 100_000))
def test_of_the_laps_that_an_outage_swallowed_one_is_made_up_for(priority: str, step: int, seconds: int) -> None:
    state, now = replace(rules.begin(priority, NOW), step=step), NOW + timedelta(seconds=seconds)
    ladder, after = POLICY.ladder(priority), rules.without_missed_laps(POLICY, state, now)
    before, due = rules.timer(POLICY, state), rules.timer(POLICY, after)
    if before is None or due is None or ladder.repeat_after_s is None:
        assert after == state
        return
    lap = timedelta(seconds=ladder.steps[-1].after_s + ladder.repeat_after_s)
    assert (after.step - state.step) % len(ladder.steps) == 0, "the same place in the ladder"
    assert now - due.at < lap
    assert due.at == before.at or due.at <= now
