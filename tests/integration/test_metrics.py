"""Every service shows every metric that the dashboard and the rules name."""

import httpx
import promql_parser
import pytest

from deploy.local.stack import Stack
from shared.messaging.topics import SERVICES
from tests.contract.test_observability import expressions, selectors

NAMED = {one.name for _, text in expressions() for one in selectors(promql_parser.parse(text))} - {"up"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_exports_what_is_watched(stack: Stack, service: str) -> None:
    shown = httpx.get(f"{stack.health_url(service)}/metrics").text
    assert len(NAMED) > 5
    for name in NAMED:
        assert f"# TYPE {name} " in shown, name
