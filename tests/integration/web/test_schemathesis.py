"""Every operation of the four documents, driven with what they allow and what they forbid: never a 5xx, as documented."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from deploy.local.stack import Stack
from shared.messaging.topics import SERVICES

DOCUMENTS = Path(__file__).parents[3] / "docs" / "openapi"
EXAMPLES = 4
ROLES = ("medical_director", "nurse", "front_desk", "device")
ANYWHERE = {404}  # a Clinic-Id that is not one of the token's


def operations(service: str) -> list[Any]:
    document = json.loads((DOCUMENTS / f"{service}.json").read_text())
    schema = schemathesis.openapi.from_dict(document)
    found: list[Any] = list(schema.get_all_operations())
    return [operation.ok() for operation in found]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_breaks_an_operation(stack: Stack, service: str, mode: GenerationMode) -> None:
    faults: list[str] = []
    for operation in operations(service):
        faults += _drive(stack, service, operation, mode)
    assert not faults, "\n".join(faults)


def _drive(stack: Stack, service: str, operation: Any, mode: GenerationMode) -> list[str]:
    """What an operation did wrong; the same requests in every run."""
    faults: list[str] = []
    role = ROLES[len(operation.label) % len(ROLES)]
    headers = {"Authorization": f"Bearer {stack.token(role, f'{role}-st')}"}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        response = case.call(base_url=stack.url(service), headers=headers)
        fault = _fault(operation, response.status_code, response.headers.get("content-type", [""])[0])
        if fault:
            faults.append(f"{operation.label}: {fault}")

    try:
        one()
    except Exception as error:  # noqa: BLE001 - a mode may have nothing to generate for an operation
        if "Unsatisfiable" not in type(error).__name__:
            faults.append(f"{operation.label}: {type(error).__name__}: {str(error)[:300]}")
    return faults


def _fault(operation: Any, status: int, media: str) -> str | None:
    """Documented, no 5xx but a busy 503, and every refusal is a problem (RFC 9457)."""
    documented = {int(code) for code in operation.definition.raw["responses"] if code.isdecimal()}
    if status >= 500:
        return f"answered {status}"
    if status not in documented | ANYWHERE:
        return f"answered {status}, documented are {sorted(documented)}"
    if status >= 400 and not media.startswith(("application/problem+json", "text/html")):
        return f"answered {status} with {media or 'no media type'}"
    return None
