"""The embedded stack looks before it starts anything, and says what to do."""

import importlib.util
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local import kafka_broker, mongodb, processes
from deploy.local.processes import StackError
from deploy.local.stack import Stack


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """A `java` that says this of its version."""

    def put(said: str) -> None:
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
        program.chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    return put


@pytest.mark.parametrize("said", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_372"', "unknown option"])
def test_a_java_that_is_too_old_is_refused_with_what_to_do(java: Callable[[str], None], said: str) -> None:
    java(said)
    with pytest.raises(StackError, match=r"Java 17 or later is needed.*apt install openjdk-17"):
        kafka_broker.need_java()


@pytest.mark.parametrize("said", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "25" 2025-09-16'])
def test_java_17_and_later_will_do(java: Callable[[str], None], said: str) -> None:
    java(said)
    kafka_broker.need_java()


@pytest.fixture
def bin_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with what the test puts there and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("KAFKA_HOME", "MONGODB_URI", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.usefixtures("bin_only")
def test_without_java_nothing_starts_and_the_text_says_what_to_install(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", random_ports=True)
    with pytest.raises(
        StackError, match=r"^java is missing\. Install it \(Debian: apt install openjdk-17-jre-headless\)"
    ):
        stack.up()
    assert processes.names(stack.home) == []


@pytest.mark.usefixtures("bin_only")
def test_without_maven_the_text_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"^mvn is missing\. Install it \(Debian: apt install maven\) and try again\."):
        kafka_broker.jars(tmp_path)


def test_a_maven_that_cannot_fetch_says_what_to_look_at_and_is_asked_again(
    bin_only: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    maven = bin_only / "mvn"
    maven.write_text("#!/bin/sh\necho no such host\nexit 1\n")
    maven.chmod(0o700)
    for _ in range(2):
        with pytest.raises(
            StackError, match=r"could not fetch Apache Kafka\. Check its network settings, or set KAFKA_HOME"
        ):
            kafka_broker.jars(tmp_path)
        assert capfd.readouterr().err == "no such host\n"


@pytest.mark.usefixtures("bin_only")
def test_without_mongod_the_text_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        StackError, match=r"^mongod was not found\. Run `make setup`, or put a mongod 6\.0 or later on the PATH"
    ):
        mongodb.binary()


def test_a_full_disk_is_found_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024**3))
    stack = Stack(tmp_path, random_ports=True)
    with pytest.raises(StackError, match=r"1\.0 GB are free .*, 2 GB are needed\. Make room: .*make down"):
        stack.up()
    assert processes.names(tmp_path) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    processes.write_whole(path, "one")
    assert path.stat().st_mode & 0o77 == 0
    with pytest.raises(UnicodeEncodeError):
        processes.write_whole(path, "\ud800")
    assert path.read_text() == "one"


def test_stores_that_are_given_are_what_the_services_get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://root:pw@127.0.0.1:1,127.0.0.1:2/?replicaSet=other")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:3")
    env = Stack(tmp_path, random_ports=True).environment("intake")
    assert env["INTAKE_MONGODB_URI"].endswith("@127.0.0.1:1,127.0.0.1:2/?replicaSet=other&authSource=intake")
    assert env["INTAKE_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:3"
    assert "INTAKE_KAFKA_USERNAME" not in env


def test_a_free_port_is_none_that_the_system_gives_to_clients_and_none_twice() -> None:
    given = [processes.free_port() for _ in range(50)]
    assert len(set(given)) == len(given)
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not [port for port in given if first <= port <= last]


def test_a_port_that_is_taken_is_not_given() -> None:
    with socket.socket() as taken:
        following = processes.free_port() + 1
        taken.bind(("127.0.0.1", following))
        assert following not in [processes.free_port() for _ in range(3)]


LARGE = """
import socket, sys, threading
held = bytearray(b"x") * 400_000_000
never = threading.Event()
for _ in range(20):
    threading.Thread(target=never.wait, args=(60,), daemon=True).start()
with socket.socket() as door:
    door.bind(("127.0.0.1", int(sys.argv[1])))
    door.listen()
    never.wait(60)
"""


def test_of_a_server_that_was_killed_nothing_holds_its_port(tmp_path: Path) -> None:
    """A mongod with a gigabyte takes a tenth of a second to die; started again meanwhile it would find its port taken."""
    port = processes.free_port()
    processes.start(tmp_path, "large", [sys.executable, "-c", LARGE, str(port)])
    processes.wait_for_port(port, tmp_path, "large")
    processes.kill(tmp_path, "large")
    processes.need_free_port(port, "of the server")
    assert processes.running(tmp_path, "large") is None
