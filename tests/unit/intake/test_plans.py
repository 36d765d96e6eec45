"""The rules of a treatment plan: who may follow whom, what sessions and findings do to it."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from services.intake import model
from shared.errors import Conflict, Invalid, PreconditionFailed
from shared.persistence.mongo import Document, as_document

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
STATES = ("draft", "active", "paused", "completed", "discontinued")
ALLOWED = {
    ("draft", "activate"): "active",
    ("draft", "revise"): "draft",
    ("active", "revise"): "active",
    ("paused", "revise"): "paused",
    ("active", "pause"): "paused",
    ("paused", "resume"): "active",
    ("draft", "discontinue"): "discontinued",
    ("active", "discontinue"): "discontinued",
    ("paused", "discontinue"): "discontinued",
}


def plan(state: str = "active", **changed: Any) -> Document:
    fields: Document = {"patient_id": "p", "state": state, "session_ids": [], "session_count": 2, "reviews": []}
    return as_document("plan", NOW, **{**fields, "reason_code": None, **changed})


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", list(model.PLAN_MOVES))
def test_every_move_from_every_state(state: str, verb: str) -> None:
    wanted = ALLOWED.get((state, verb))
    if wanted is None:
        with pytest.raises(Conflict) as refused:
            model.move_plan(plan(state), verb, NOW, "why")
        assert refused.value.reasons[0]["code"] == f"plan_{state}"
        return
    after = model.move_plan(plan(state), verb, NOW, "why")
    assert (after["state"], after["reason_code"], after["version"]) == (wanted, "why", 2)


def test_a_refusal_names_the_states_that_would_do() -> None:
    with pytest.raises(Conflict) as refused:
        model.move_plan(plan("completed"), "discontinue", NOW, "why")
    assert refused.value.reasons[0]["detail"] == "The plan is completed; discontinue needs draft or active or paused."


def test_fewer_sessions_than_were_given_are_no_revision() -> None:
    begun = plan(session_ids=["s1"])
    assert model.revise_plan(begun, {"session_count": 2}, NOW, "why")["session_count"] == 2
    with pytest.raises(Invalid) as refused:
        model.revise_plan(begun, {"session_count": 1}, NOW, "why")
    assert (refused.value.errors[0].pointer, refused.value.errors[0].code) == ("/session_count", "below_done")


@pytest.mark.parametrize(("state", "after"), [("active", "completed"), ("paused", "completed"), ("discontinued",) * 2])
def test_the_last_session_completes_what_has_not_ended(state: str, after: str) -> None:
    counted = model.count_session(plan(state, session_ids=["s1"]), "s2", NOW)
    assert counted is not None
    assert (counted["state"], counted["session_ids"]) == (after, ["s1", "s2"])
    assert model.count_session(counted, "s2", NOW) is None


def test_a_finding_pauses_an_active_plan_once_and_stays_open_until_a_prescriber_decides() -> None:
    paused = model.note_review(plan(), "serious_adverse_event", "s1:syncope", NOW, pause=True)
    assert paused is not None
    assert (paused["state"], paused["reason_code"]) == ("paused", "serious_adverse_event")
    assert model.review_codes(paused) == ["serious_adverse_event"]
    resumed = model.move_plan(paused, "resume", NOW, "reviewed")
    assert (resumed["state"], model.review_codes(resumed)) == ("active", [])
    assert model.note_review(resumed, "serious_adverse_event", "s1:syncope", NOW, pause=True) is None
    again = model.note_review(resumed, "serious_adverse_event", "s2:syncope", NOW, pause=True)
    assert again is not None
    assert again["state"] == "paused"


def test_a_pause_leaves_a_finding_open() -> None:
    noted = model.note_review(plan(), "session_aborted", "s1", NOW, pause=False)
    assert noted is not None
    assert (noted["state"], model.review_codes(noted)) == ("active", ["session_aborted"])
    assert model.review_codes(model.move_plan(noted, "pause", NOW, "why")) == ["session_aborted"]


def test_a_plan_of_the_first_version_has_no_findings() -> None:
    old = plan()
    del old["reviews"]
    assert model.review_codes(old) == []
    assert model.move_plan(old, "pause", NOW, "why")["reviews"] == []


@pytest.mark.parametrize("order", list(permutations(("completed", "adverse", "aborted"))))
def test_what_a_session_says_ends_alike_in_every_order(order: tuple[str, ...]) -> None:
    def told(row: Document, what: str) -> Document:
        if what == "completed":
            return model.count_session(row, "s1", NOW) or row
        if what == "adverse":
            return model.note_review(row, "serious_adverse_event", "s1:syncope", NOW, pause=True) or row
        return model.note_review(row, "session_aborted", "s1", NOW, pause=False) or row

    row = plan(session_count=1)
    for what in order:
        row = told(row, what)
    assert row["state"] == "completed"
    assert model.review_codes(row) == ["serious_adverse_event", "session_aborted"]


def test_only_the_version_that_was_read_is_changed() -> None:
    assert model.at_version(plan(), 1)["version"] == 1
    with pytest.raises(PreconditionFailed):
        model.at_version(plan(), 2)
