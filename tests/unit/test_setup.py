"""`make setup` says what is missing, every time that it is asked, and shows what it does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.stack import ROOT

TOOLS = ("awk", "bash", "cp", "dirname", "grep", "mkdir")
PACKAGES = 30
MISSING = "Python 3.11 or later is missing. Install it (Debian: apt install python3.11 python3.11-venv)."
NO_VENV = "python3-venv is missing (Debian: apt install python3-venv)."
OLD = "#!/bin/bash\nexit 1\n"
# As Debian's: `venv` leaves .venv/bin/python behind where ensurepip is missing.
GOOD = """#!/bin/bash
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; [ -e ensurepip ] || exit 1 ;;
  "-m pip --version") [ -e ensurepip ] ;;
  "-m pip install "*) [ -e broken ] && { echo "ERROR: no such hash" >&2; exit 1; }
    echo "$*" >asked; while read -r name; do echo "Collecting $name"; echo "  Downloading it"; done <requirements-dev.txt
    echo "Installing collected packages: all" ;;
esac
"""


class Machine:
    """An empty checkout, and a PATH with what the test puts there."""

    def __init__(self, home: Path) -> None:
        self.home, self.bin = home, home / "bin"
        self.bin.mkdir()
        script = home / "deploy" / "local" / "setup.sh"
        script.parent.mkdir(parents=True)
        shutil.copy(ROOT / "deploy" / "local" / "setup.sh", script)
        (home / "requirements-dev.txt").write_text("".join(f"p{number}==1\n" for number in range(PACKAGES)))
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        self.has_gigabytes(9)

    def has(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o700)

    def has_gigabytes(self, number: int) -> None:
        self.has("df", f"#!/bin/bash\necho head\necho / 1 1 {number * 1024**2} 1%\n")

    def sets_up(self) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PATH": str(self.bin)}
        command = [str(self.bin / "bash"), "deploy/local/setup.sh"]
        return subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    done = machine.sets_up()
    assert (done.returncode, done.stderr.strip()) == (1, MISSING)


def test_a_python_that_is_too_old_is_none(machine: Machine) -> None:
    machine.has("python3", OLD)
    done = machine.sets_up()
    assert (done.returncode, done.stderr.strip()) == (1, MISSING)


def test_a_full_disk_is_found_before_anything_is_installed(machine: Machine) -> None:
    machine.has("python3.11", GOOD)
    machine.has_gigabytes(1)
    done = machine.sets_up()
    assert (done.returncode, done.stdout) == (1, "")
    assert f"1024 MB are free in {machine.home}; packages, Kafka and data need 3 GB. Make room and try" in done.stderr


def test_without_venv_it_says_so_each_time_and_goes_on_when_it_is_there(machine: Machine) -> None:
    machine.has("python3.11", GOOD)
    for _ in range(2):
        done = machine.sets_up()
        assert (done.returncode, done.stderr.strip()) == (1, NO_VENV)
    (machine.home / "ensurepip").touch()
    assert machine.sets_up().returncode == 0


def test_an_installation_is_checked_by_hash_and_shows_its_progress(machine: Machine) -> None:
    (machine.home / "ensurepip").touch()
    machine.has("python3.12", GOOD)
    done = machine.sets_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert "--require-hashes --no-deps " in (machine.home / "asked").read_text()
    assert done.stdout.splitlines() == [
        "  installing the pinned packages into .venv; the first time this takes minutes",
        "  25 of 30 packages",
        "  30 of 30 packages",
        "  unpacking them",
    ]


def test_an_installation_that_fails_says_why_and_fails(machine: Machine) -> None:
    (machine.home / "ensurepip").touch()
    (machine.home / "broken").touch()
    machine.has("python3.12", GOOD)
    done = machine.sets_up()
    assert (done.returncode, done.stderr.strip()) == (1, "ERROR: no such hash")
