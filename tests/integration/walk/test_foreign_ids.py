"""Ids of another clinic inside a body: what is ours to know is refused, what others own is unknown here and stays theirs."""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.stack import Stack
from tests.integration.walk import way
from tests.integration.walk.walk import Walk
from tests.support.operations import OPERATIONS

Body = dict[str, Any]
ID = "[0-9a-f]{12}"
# Owned by another service, and perhaps not heard of yet: it is taken as it is said.
TAKEN = {
    *("open_session.patient_id", "open_session.plan_id", "open_session.location_id", "join.patient_id", "join.plan_id"),
    *("book_appointment.patient_id", "put_locations.locations.id"),
    *("add_resource.location_id", "change_resource.location_id", "add_staff.locations", "change_staff.locations"),
}


@pytest.fixture(scope="module")
def here(stack: Stack) -> Iterator[Walk]:
    """Another clinic than the one of the way, with one of each that a body can be sent to."""
    made = Walk(stack)
    made.ids["resource_id"] = made.made("add_resource", {"kind": "room", "label": "R"})
    visit = {"patient_id": made.made("register_patient"), "kind": "consultation"}
    made.ids["appointment_id"] = made.made(
        "book_appointment", {**visit, "resources": [made.ids["resource_id"]], **way.ONE}
    )
    made.ids["plan_id"] = made.made("draft_plan", way.PLAN, "prescriber", patient_id=visit["patient_id"])
    made.do("activate_plan")
    made.until(lambda: made.read(f"/v1/courses/{made.ids['plan_id']}", "scheduling")["known"])
    for prefix in ("", "participant_"):
        way.opened(made, prefix, 1)
        made.ids["entry_id"] = made.made(f"{prefix}add_intervention", {"intervention_code": "reassurance"})
        made.ids["reading_id"] = way.a_reading(made, prefix)
        made.ids |= {f"{prefix}{name}": made.ids[name] for name in ("session_id", "entry_id", "reading_id")}
    yield made
    made.close()


def refused(walk: Walk, here: Walk) -> dict[str, tuple[int, Body]]:
    """By the field that names something of the other clinic."""
    room, theirs, away = [here.ids["resource_id"]], [walk.ids["resource_id"]], {"to_session_id": walk.ids["session_id"]}
    visit = {"patient_id": here.ids["plan_id"], "kind": "consultation", **way.TWO}
    course = {"starts": [way.THREE], "resources": room}
    reading = {"sign": "8867-4", "value": 71, "unit": "/min", "taken_at": way.THREE, "device": "m1"}
    moves = {f"{name}.to_session_id": (404, {**away, **way.WHY}) for name in ("move_entry", "move_reading")}
    return {
        "book_appointment.resources": (422, {**visit, "resources": theirs}),
        "book_appointment.hold_id": (409, {**visit, "resources": room, "hold_id": walk.ids["hold_id"]}),
        "book_appointment.plan_id": (
            409,
            {**visit, "kind": "dosing", "resources": room, "plan_id": walk.ids["plan_id"]},
        ),
        "reschedule_appointment.resources": (422, {**way.TWO, "resources": theirs}),
        "add_hold.resources": (422, {**way.TWO, "resources": theirs}),
        "book_whole_course.resources": (422, {**course, "resources": theirs}),
        "book_whole_course.integration_resources": (422, {**course, "integration_resources": theirs}),
        "take_gateway_vitals.readings.session_id": (
            200,
            {"readings": [reading | {"session_id": walk.ids["session_id"]}]},
        ),
        **moves,
        **{f"participant_{name}": said for name, said in moves.items()},
    }


def test_what_is_ours_to_know_is_refused_and_nothing_changes(walk: Walk, here: Walk) -> None:
    for field, (status, body) in refused(walk, here).items():
        name, prefix = field.partition(".")[0], "participant_" if field.startswith("participant_") else ""
        own = {key: here.ids[f"{prefix}{key}"] for key in ("session_id", "entry_id", "reading_id")}
        answer = here.tried(name, body, **own)
        assert answer.status_code == status, (field, answer.text)
        if status == 200:
            assert [row["reason"] for row in answer.json()["results"]] == ["session_unknown"]


def test_what_others_own_is_taken_and_stays_theirs(walk: Walk, here: Walk) -> None:
    theirs = {name: walk.ids[name] for name in ("patient_id", "plan_id")}
    before = walk.read(f"/v1/courses/{walk.ids['plan_id']}", "scheduling")
    for prefix in ("", "participant_"):
        session = way.opened(here, prefix, 3, **theirs)
        gate = here.read(f"/v1/sessions/{session}/gate", "monitoring")
        assert {"plan_unknown"} <= {reason["code"] for reason in gate["reasons"]}, gate
    here.do("put_preferences", patient_id=walk.ids["patient_id"])
    visit = {"patient_id": walk.ids["patient_id"], "kind": "consultation", **way.TWO}
    for clinic in (walk, here):
        clinic.do("book_appointment", {**visit, "resources": [clinic.ids["resource_id"]]})
    assert walk.read(f"/v1/courses/{walk.ids['plan_id']}", "scheduling") == before


def test_every_id_that_a_body_can_name_is_looked_at(walk: Walk, here: Walk) -> None:
    named = {f"{name}.{'.'.join(path)}" for name, one in OPERATIONS.items() for path in ids_in(one.body)}
    assert named == TAKEN | set(refused(walk, here))


def ids_in(schema: Body, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if ID in schema.get("pattern", ""):
        yield path
    inner = [(path, one) for kind in ("anyOf", "oneOf", "allOf") for one in schema.get(kind, ())]
    inner += [(path, schema["items"])] if "items" in schema else []
    inner += [((*path, name), one) for name, one in schema.get("properties", {}).items()]
    for below, one in inner:
        yield from ids_in(one, below)
