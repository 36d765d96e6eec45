"""Every operation of the four documents, with what they allow and what they forbid: as documented, never a 5xx, no echo."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.local.stack import CLINIC, Stack
from shared import errors
from shared.errors import StillwaterError
from shared.messaging.topics import SERVICES

DOCUMENTS = Path(__file__).parents[3] / "docs" / "openapi"
EXAMPLES = 6
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
REAL = {"Clinic-Id": CLINIC, "If-Match": '"v1"'}
ECHO_CHARS = 6
# Codes of our own that the generator found among the constants of the code and sends; an answer with one echoes nobody.
CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StillwaterError)}
MADE = 15  # answers of 2xx that show that not everything was refused for one reason; of 400 and 422 likewise
STALE = 412  # what a broken If-Match gets: it matches no state (RFC 9110, 13.1.1); the check does not know that


class Driver:
    """One service, one mode; what is allowed is asked of things that it has made before, as far as it can."""

    def __init__(self, stack: Stack, service: str, mode: GenerationMode) -> None:
        self._stack, self._url, self._mode = stack, stack.url(service), mode
        self._document = (DOCUMENTS / f"{service}.json").read_text()
        self._made: dict[str, str] = {}
        self._session = requests.Session()
        self.faults: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        with self._session:
            found: list[Any] = list(schemathesis.openapi.from_dict(json.loads(self._document)).get_all_operations())
            for operation in (one.ok() for one in found):
                if not _never_ends(operation.definition.raw):
                    self._drive(operation)

    def _drive(self, operation: Any) -> None:
        """The same requests in every run; none where a mode has nothing to say, as with what has no parameters."""
        role = operation.definition.raw.get("x-roles", ["nurse"])[-1]
        self._session.headers["Authorization"] = f"Bearer {self._stack.token(role, f'{role}-st')}"

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=self._mode))
        def every(case: Any) -> None:
            self._look(case)

        try:
            every()
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:
                raise

    def _look(self, case: Any) -> None:
        """All faults of all operations are told together, one each."""
        name, checks = case.operation.label, CHECKS
        if self._mode is GenerationMode.POSITIVE:
            self._of_this_clinic(case)
        answer = case.call(base_url=self._url, session=self._session)
        if self._mode is GenerationMode.NEGATIVE and answer.status_code != STALE:
            checks = [*CHECKS, negative_data_rejection]
        self.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=checks)
        except (FailureGroup, AssertionError) as failure:
            self.faults.setdefault(name, f"{answer.status_code} {str(failure)[:1500]}")
        if answer.status_code >= 500:
            self.faults[name] = f"{answer.status_code} {case.as_curl_command()[:600]}"
        if answer.status_code >= 400:
            said = texts([case.body, case.query, case.path_parameters])
            echoed = [text for text in said if text not in CODES and text in answer.text and text not in self._document]
            if echoed:
                self.faults.setdefault(name, f"{answer.status_code} echoes {echoed[0][:100]!r}")
        self._learn(answer.headers.get("Location", ""))

    def _of_this_clinic(self, case: Any) -> None:
        case.headers.update({name: text for name, text in REAL.items() if name in case.headers})
        if not case.path.endswith("/erase"):
            case.path_parameters.update(
                {name: self._made.get(name, text) for name, text in case.path_parameters.items()}
            )

    def _learn(self, location: str) -> None:
        """`/v1/patients/0190...`: from now on that is `patient_id`."""
        *_, collection, identifier = ("", "", *location.split("/"))
        self._made[collection.removesuffix("s").replace("inquirie", "inquiry") + "_id"] = identifier


def _never_ends(operation: Any) -> bool:
    return "text/event-stream" in operation["responses"].get("200", {}).get("content", {})


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_keeps_its_word(stack: Stack, service: str, mode: GenerationMode) -> None:
    driver = Driver(stack, service, mode)
    driver.run()
    assert not driver.faults, "\n".join(f"{name}: {fault}" for name, fault in driver.faults.items())
    if mode is GenerationMode.POSITIVE:
        assert driver.statuses[200] + driver.statuses[201] >= MADE, driver.statuses
    else:
        assert driver.statuses[400] + driver.statuses[422] >= MADE, driver.statuses


def texts(value: Any) -> Iterator[str]:
    """What the sender said that is long enough to be known again."""
    if isinstance(value, str) and len(value) >= ECHO_CHARS:
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(name)
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
