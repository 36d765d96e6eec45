"""The states of a visit, its readiness, what holds a patient."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduling import model
from services.scheduling.usecases.patients import holds
from shared.errors import Conflict
from shared.events.scheduling import AppointmentBooked, AppointmentStatus, CheckName

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
STATES = get_args(AppointmentStatus)
CHECKS = get_args(CheckName)
BY_PEOPLE = ("confirm", "reschedule", "cancel", "no_show", "readiness")
HAPPENED = ("arrive", "start", "complete", "abort")


def visit(state: str = "booked", **changed: Any) -> dict[str, Any]:
    row = {"_id": "a1", "version": 3, "state": state, "start": NOW, "end": NOW + timedelta(hours=3), "readiness": None}
    return {**row, "updated_at": NOW, **changed}


@pytest.mark.parametrize("verb", BY_PEOPLE)
@pytest.mark.parametrize("state", STATES)
def test_people_decide_only_over_what_is_still_ahead(verb: str, state: str) -> None:
    ahead = {"confirm": ["booked"], "readiness": ["booked", "confirmed", "arrived"]}.get(verb, ["booked", "confirmed"])
    if state in ahead:
        assert model.moved(visit(state), verb, NOW)["version"] == 4
        return
    with pytest.raises(Conflict) as refused:
        model.moved(visit(state), verb, NOW)
    assert refused.value.reasons[0]["code"] == f"appointment_{state}"


@given(st.lists(st.sampled_from([*BY_PEOPLE, *HAPPENED]), max_size=12))
def test_whatever_comes_a_visit_that_happened_never_goes_back(verbs: list[str]) -> None:
    order = {"arrived": 1, "in_progress": 2, "completed": 3, "aborted": 4}
    row = visit()
    for verb in verbs:
        before = row
        if model.allows(row, verb):
            row = model.moved(row, verb, NOW)
        assert row["state"] in STATES
        assert order.get(row["state"], 0) >= order.get(before["state"], 0)


@given(st.permutations(["arrive", "start", "complete"]))
def test_what_monitoring_says_ends_the_same_in_every_order(verbs: list[str]) -> None:
    row = visit()
    for verb in verbs:
        row = model.moved(row, verb, NOW) if model.allows(row, verb) else row
    assert row["state"] == "completed"


@pytest.mark.parametrize("state", ["cancelled", "no_show"])
def test_who_comes_all_the_same_has_arrived(state: str) -> None:
    assert model.moved(visit(state), "arrive", NOW)["state"] == "arrived"


def test_nobody_is_missing_before_the_time() -> None:
    with pytest.raises(Conflict) as refused:
        model.no_show(visit(), NOW - timedelta(milliseconds=1))
    assert refused.value.reasons[0]["code"] == "not_begun"
    assert model.no_show(visit(), NOW)["state"] == "no_show"


@given(st.lists(st.dictionaries(st.sampled_from(CHECKS), st.booleans(), min_size=1), min_size=1, max_size=5))
def test_ready_means_that_every_needed_check_was_last_answered_with_yes(answers: list[dict[str, bool]]) -> None:
    row = visit()
    for answer in answers:
        row = model.with_checks(row, answer, CHECKS, "nurse", NOW)
    last: dict[str, bool] = {}
    for answer in answers:
        last |= answer
    assert row["readiness"]["ready"] == (len(last) == len(CHECKS) and all(last.values()))
    assert {item.check: item.ok for item in model.checks_of(row)} == last
    assert model.missing(row, CHECKS) == [name for name in CHECKS if not last.get(name)]


def test_a_kind_that_needs_no_check_is_ready_unless_one_is_not_ok() -> None:
    assert model.with_checks(visit(), {"escort": True}, (), "nurse", NOW)["readiness"]["ready"]
    assert not model.with_checks(visit(), {"escort": False}, (), "nurse", NOW)["readiness"]["ready"]


def test_an_event_carries_the_whole_appointment() -> None:
    resources = [{"id": "r1", "kind": "room", "label": "Room 2"}]
    fields = {"patient_id": "p1", "kind": "dosing", "mode": "in_person", "location_id": "l1", "plan_id": "pl1"}
    row = visit(sequence_no=2, of=6, time_zone="America/New_York", resources=resources, **fields)
    event = model.told(AppointmentBooked, row).model_dump()
    assert event == {
        **fields,
        **{name: row[name] for name in ("sequence_no", "of", "time_zone", "start", "end", "resources")},
        "appointment_id": "a1",
    }


CONSENT = {"document": "treatment", "sequence": "1"}


@pytest.mark.parametrize(
    ("consents", "held"),
    [
        ({}, set()),
        ({"c1": {**CONSENT, "state": "revoked"}}, {"consent_revoked"}),
        ({"c1": {**CONSENT, "state": "revoked"}, "c2": {**CONSENT, "state": "signed"}}, set()),
        ({"c1": {**CONSENT, "state": "revoked"}, "c2": {**CONSENT, "state": "expired"}}, {"consent_revoked"}),
        ({"c1": {**CONSENT, "state": "revoked", "document": "telehealth"}}, set()),
    ],
    ids=["none", "revoked", "signed anew", "the new one expired", "a document that dosing does not need"],
)
def test_a_revoked_consent_holds_until_the_same_document_is_signed_again(
    consents: dict[str, Any], held: set[str]
) -> None:
    patient = {"consents": consents, "risk": {"held": False}}
    assert holds(patient, {"treatment"}) == held
    assert holds({**patient, "risk": {"held": True}}, {"treatment"}) == held | {"risk"}
