"""One system with split roles for all fault tests."""

from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.support.stacks import fresh_stack


@pytest.fixture(scope="module")
def split_stack() -> Iterator[Stack]:
    with fresh_stack(replicas=1) as running:
        yield running
