"""Processes of which nothing is started."""

from pathlib import Path

import pytest

from shared.service import Process, Service
from tests.unit.test_settings import GOOD


class Processes:
    """Of any service in any role, without a store and a broker: nothing is started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self._monkeypatch, self._home = monkeypatch, home

    def __call__(self, service: Service, role: str) -> Process:
        given = GOOD | {"AUDIT_ANCHOR_PATH": str(self._home / "anchor.jsonl")}
        for name, text in given.items():
            self._monkeypatch.setenv(f"{service.name.upper()}_{name}", text)
        return Process(service, service.settings(), role)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Processes:
    return Processes(monkeypatch, tmp_path)
