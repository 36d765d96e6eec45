"""Nothing may stop a nurse: what is marked, and what the documents then say."""

import importlib
import json

import pytest
from fastapi.routing import iter_route_contexts

from shared.errors import Conflict, PreconditionFailed, PreconditionRequired, StillwaterError, TooManyRequests
from shared.messaging.topics import SERVICES
from shared.web.app import create_app
from shared.web.nurse import is_nurse_route, nurse_paths
from shared.web.problems import problem_response
from tests.support.operations import ALL

VERBS = {"dose/stop", "dose/pause", "abort", "emergency", "acknowledge", "silence", "vitals", "leave"}
VERBS |= {"observations", "interventions", "adverse-events"}
NEVER = {"409", "412", "428", "429"}


@pytest.mark.parametrize("service", SERVICES)
def test_no_nurse_operation_can_refuse(service: str) -> None:
    for one in ALL:
        if one.service != service or not one.said.get("x-nurse-route"):
            continue
        assert not NEVER & set(one.said["responses"]), one.name
        names = json.dumps(one.said.get("parameters", []))
        assert "IfMatch" not in names, one.name
        assert "If-Match" not in names, one.name


def test_every_verb_that_must_always_work_is_marked() -> None:
    posts = [one for one in ALL if (one.service, one.method) == ("monitoring", "post")]
    seen = {verb: [one for one in posts if one.path.endswith(f"/{verb}")] for verb in VERBS}
    assert all(seen.values())
    for verb, found in seen.items():
        assert all(one.said.get("x-nurse-route") for one in found), verb


def test_all_others_with_a_token_document_the_limit() -> None:
    for one in ALL:
        if one.needs_token and not one.said.get("x-nurse-route"):
            assert one.answers(429), one.name


def test_the_pattern_matches_the_marked_paths_and_no_other() -> None:
    app = create_app("monitoring", [importlib.import_module("services.monitoring.routes").router], None)
    pattern = nurse_paths(app.routes)
    for route in iter_route_contexts(app.routes):
        path = (route.path or "").replace("{session_id}", "s").replace("{alarm_id}", "a")
        posts = {r.path for r in iter_route_contexts(app.routes) if is_nurse_route(r.endpoint)}
        assert (pattern.fullmatch(path) is not None) == (route.path in posts), path
    assert pattern.fullmatch("/v1/vitals/more") is None
    assert nurse_paths([]).fullmatch("") is None


@pytest.mark.parametrize(
    "error", [Conflict(), PreconditionFailed(), PreconditionRequired(), TooManyRequests("default", 60)]
)
def test_what_slips_through_is_a_503_on_her_route(error: StillwaterError) -> None:
    answer = problem_response(error, nurse=True)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert problem_response(error).status_code == error.status
