"""The operators' command as it is called, on the running stack."""

import os
import subprocess
import sys

import pytest

from deploy.local.stack import Stack
from shared.messaging.topics import SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_verify_audit_of_a_running_service_finds_nothing(stack: Stack, service: str) -> None:
    environment = os.environ | stack.environment(service)
    command = [sys.executable, "-m", f"services.{service}", "verify-audit"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout.splitlines()[-1].rpartition(", ")[2]) == (0, "0 findings"), (
        run.stdout + run.stderr
    )
