"""`make up`, `down` and `token` as commands, and the names and numbers that scripts of operators rely on."""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

import deploy.local.__main__ as commands
from deploy.local import companions
from deploy.local.processes import StackError
from deploy.local.stack import ROOT, Stack
from shared.messaging.topics import SERVICES

STAY = {"up", "down", "run", "test", "test-unit", "test-faults", "bench", "docs", "migrate", "token"}
MAKE = shutil.which("make") or "make"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the commands find their stack, with the ports that stay."""
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for name in ("MONGODB_URI", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".local"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands.cli, arguments)


def test_a_token_names_its_role_clinic_and_patient(home: Path) -> None:
    said = run("token", "--role", "patient", "--clinic", "clinic-1", "--patient", "patient-1").stdout
    key, issuer = companions.signing_key(home / "issuer.pem").public_key(), "http://127.0.0.1:8090"
    claims = jwt.decode(said.strip(), key, algorithms=["RS256"], audience="stillwater", issuer=issuer)
    assert {name: claims[name] for name in ("roles", "clinics", "patient_id", "sub")} == {
        "roles": ["patient"],
        "clinics": ["clinic-1"],
        "patient_id": "patient-1",
        "sub": "patient-1",
    }


@pytest.mark.parametrize(
    ("target", "command"),
    [
        (["token", "ROLE=nurse", "CLINIC=c1", "PATIENT=p1"], "token --role nurse --clinic c1 --patient p1"),
        (["token", "ROLE=nurse"], "token --role nurse"),
        (["up"], "up --roles all --replicas 1"),
        (["up", "ROLES=split", "REPLICAS=2"], "up --roles split --replicas 2"),
        (["down"], "down"),
        (["migrate"], "migrate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_make_calls_the_command(target: list[str], command: str) -> None:
    said = subprocess.run([MAKE, "-n", *target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f".venv/bin/python -m deploy.local {command}" in [line.strip() for line in said.splitlines()]


def test_make_help_tells_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    made = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    said = subprocess.run([MAKE, "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = [line.split(maxsplit=1) for line in said.splitlines()]
    assert [name for name, _ in told] == made
    assert set(made) >= STAY
    assert set(made) == set(makefile.partition(".PHONY:")[2].partition("\n")[0].split()), (
        "docs and bench are folders too"
    )


@pytest.mark.usefixtures("home")
def test_migrate_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fails(stack: Stack) -> None:
        asked.append(stack)
        raise StackError("A migration failed; its reason stands above.")

    monkeypatch.setattr(Stack, "migrate", fails)
    done = run("migrate")
    assert (done.exit_code, done.stdout.strip(), len(asked)) == (
        1,
        "failed A migration failed; its reason stands above.",
        1,
    )


@pytest.mark.parametrize(("how", "replicas"), [([], 0), (["--roles", "split", "--replicas", "2"], 2)])
@pytest.mark.usefixtures("home")
def test_up_shows_each_step_and_where_the_addresses_are(
    monkeypatch: pytest.MonkeyPatch, how: list[str], replicas: int
) -> None:
    asked = []

    def starts(_: Stack, report: Any, *, replicas: int) -> None:
        asked.append(replicas)
        with report("checking the ports"):
            pass

    monkeypatch.setattr(Stack, "up", starts)
    done = run("up", *how)
    assert (done.exit_code, asked) == (0, [replicas])
    assert "ok checking the ports" in done.stdout
    assert "addresses: .local/stack.json" in done.stdout


@pytest.mark.usefixtures("home")
def test_up_that_fails_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise StackError("Port 8001 (intake) is taken.")

    monkeypatch.setattr(Stack, "up", fails)
    done = run("up")
    assert (done.exit_code, done.stdout.strip()) == (1, "failed Port 8001 (intake) is taken.")


def test_down_stops_that_stack(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []
    monkeypatch.setattr(Stack, "down", lambda self: stopped.append(self.home))
    assert run("down").stdout == "Stillwater is down.\n"
    assert stopped == [home]


def test_the_addresses_have_their_names_and_the_services_their_ports(home: Path) -> None:
    stack = Stack(home)
    stack._write_addresses()
    found = json.loads((home / "stack.json").read_text())
    assert found["services"] == {
        name: {"url": f"http://127.0.0.1:{8001 + n}", "health_url": f"http://127.0.0.1:{8101 + n}", "pids": []}
        for n, name in enumerate(("intake", "scheduling", "monitoring", "notifications"))
    }
    assert found["kafka_bootstrap_servers"] == "127.0.0.1:29092"
    assert "@127.0.0.1:27117/?replicaSet=rs0" in found["mongodb_uri"]
    assert found["issuer"] == "http://127.0.0.1:8090"
    assert found["sinks"]["messages"] == "http://127.0.0.1:8090/messages"


def test_api_and_worker_keep_the_ports_of_their_service(home: Path) -> None:
    stack = Stack(home)
    stack.split(1)
    apis = [(part.port, part.health_port) for part in stack.parts if part.role == "api"]
    assert apis == [(8001 + number, 8101 + number) for number in range(len(SERVICES))]
