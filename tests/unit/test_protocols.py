"""Faults in clinical content say where they are, and no process begins with one."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from services.monitoring.protocol import DosingProtocol
from services.monitoring.wiring import PROTOCOLS, protocols
from shared.protocols import ProtocolError, load
from shared.service import open_process
from tests.unit.test_health import ALL
from tests.unit.test_settings import GOOD, ROOT


def broken(folder: Path, old: str, new: str) -> str:
    text = (PROTOCOLS / "iv.yaml").read_text()
    assert old in text
    path = folder / "iv.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProtocolError) as refused:
        load(path, DosingProtocol)
    return str(refused.value)


def line_of(words: str) -> int:
    lines = (PROTOCOLS / "iv.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if words in line)


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("max_diastolic: 90", "max_diastolic: much", "gate.max_diastolic", "max_diastolic"),
        ("{factor: 10, least_s: 10,", "{factor: 10, leats_s: 10,", "signals.leats_s", "factor"),
    ],
)
def test_a_fault_names_file_line_and_field(tmp_path: Path, old: str, new: str, field: str, words: str) -> None:
    assert f"iv.yaml:{line_of(words)}: {field}: " in broken(tmp_path, old, new)


def test_a_missing_field_is_named_at_what_surrounds_it(tmp_path: Path) -> None:
    said = broken(tmp_path, "  min_aldrete: 9\n", "  # nothing\n")
    assert f"iv.yaml:{line_of('discharge:')}: discharge.min_aldrete: Field required" in said


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    said = broken(tmp_path, "  max_diastolic: 90", "  x: 1")
    assert [line.split(": ")[1] for line in said.splitlines()] == ["gate.max_diastolic", "gate.x"]


def test_what_is_not_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: 1\nb: [1\n")
    with pytest.raises(ProtocolError, match="line 3"):
        load(path, DosingProtocol)


BEGIN = """
import sys
from pathlib import Path
from services.monitoring import wiring
from shared.cli import main
wiring.PROTOCOLS = Path(sys.argv.pop(1))
main(wiring.SERVICE)
"""
WIRINGS = {service.name: import_module(f"services.{service.name}.wiring") for service in ALL}
SHIPPED = [
    (name, path.relative_to(wiring.PROTOCOLS).as_posix())
    for name, wiring in WIRINGS.items()
    for path in sorted(wiring.PROTOCOLS.rglob("*.yaml"))
]


class Content:
    """A service's content in a folder of its own, to be spoilt."""

    def __init__(self, wiring: ModuleType, folder: Path) -> None:
        self.folder = folder / "protocols"
        shutil.copytree(wiring.PROTOCOLS, self.folder)

    def spoil(self, name: str) -> str:
        """A key that nobody knows, in the last line; returns what is to be said of it."""
        path = self.folder / name
        text = path.read_text().rstrip("\n") + "\ninvented_later: 1\n"
        path.write_text(text)
        return f"{path.parent.name}/{path.name}:{len(text.splitlines())}: invented_later: "

    def name_in_vain(self, name: str, field: str) -> str:
        path = self.folder / name
        lines = path.read_text().splitlines()
        number = next(number for number, line in enumerate(lines) if line.startswith(f"{field}: "))
        lines[number] = f"{field}: nowhere"
        path.write_text("\n".join(lines) + "\n")
        return f"{path.parent.name}/{path.name}:{number + 1}: {field}: there is no nowhere"


@pytest.fixture
def content(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Content, ModuleType]]:
    """Of this service, which reads it from there."""
    wiring = WIRINGS[request.param]
    made = Content(wiring, tmp_path)
    monkeypatch.setattr(wiring, "PROTOCOLS", made.folder)
    protocols.cache_clear()
    yield made, wiring
    protocols.cache_clear()


@pytest.mark.parametrize(("content", "name"), SHIPPED, ids=map("/".join, SHIPPED), indirect=["content"])
def test_no_service_begins_with_content_that_is_broken(
    content: tuple[Content, ModuleType],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files, wiring = content
    told = files.spoil(name)
    for setting, text in GOOD.items():
        monkeypatch.setenv(f"{wiring.SERVICE.name.upper()}_{setting}", text)
    with pytest.raises(SystemExit) as stopped:
        open_process(wiring.SERVICE, "worker")
    said = capsys.readouterr().err
    assert (stopped.value.code, len(said.splitlines())) == (2, 1)
    assert said.startswith(told)


@pytest.mark.parametrize("field", ["limits", "medicines"])
@pytest.mark.parametrize("content", ["monitoring"], indirect=True)
def test_what_a_protocol_names_in_vain_is_told_with_its_place(content: tuple[Content, ModuleType], field: str) -> None:
    files, wiring = content
    told = files.name_in_vain("iv.yaml", field)
    with pytest.raises(ProtocolError) as refused:
        wiring.make_deps(None)
    assert str(refused.value) == told


@pytest.mark.parametrize("role", ["all", "migrate", "verify-audit"])
def test_the_process_ends_with_one_line_and_exit_code_2(tmp_path: Path, role: str) -> None:
    files = Content(WIRINGS["monitoring"], tmp_path)
    told = files.spoil("iv.yaml")
    command = [sys.executable, "-c", BEGIN, str(files.folder), role]
    given = {f"MONITORING_{name}": text for name, text in GOOD.items()}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=given)
    assert done.returncode == 2, done.stderr
    assert (done.stderr.startswith(told), len(done.stderr.splitlines())) == (True, 1)
