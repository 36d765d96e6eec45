"""The audit of the running stack: sealed within seconds, and sound by the operators' command as it is called."""

import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from deploy.local.stack import Stack
from shared.messaging.topics import SERVICES
from tests.support.eventually import eventually

LISTS = {"intake": "patients", "scheduling": "appointments", "monitoring": "sessions", "notifications": "tasks"}


@pytest.mark.parametrize("service", SERVICES)
def test_verify_audit_of_a_running_service_finds_nothing(stack: Stack, service: str) -> None:
    environment = os.environ | stack.environment(service)
    command = [sys.executable, "-m", f"services.{service}", "verify-audit"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout.splitlines()[-1].rpartition(", ")[2]) == (0, "0 findings"), (
        run.stdout + run.stderr
    )


@pytest.mark.parametrize("service", SERVICES)
async def test_a_running_service_seals_what_was_done_within_seconds(stack: Stack, service: str) -> None:
    reader = f"reader-{uuid4().hex}"
    bearer = {"Authorization": f"Bearer {stack.token('nurse', reader)}"}
    async with httpx.AsyncClient(base_url=stack.url(service), headers=bearer, timeout=10) as http:
        (await http.get(f"/v1/{LISTS[service]}")).raise_for_status()
    with MongoClient[Any](stack.mongodb_uri) as client:
        (row,) = client[service].audit.find({"actor": reader})

        async def sealed() -> bool:
            return client[service].audit_blocks.count_documents({"rows.id": row["_id"]}) == 1

        await eventually(sealed, 5)
