"""Child processes with a pid file and a log each; only what this file started is ever stopped."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

STOP_SECONDS = 20.0


class StackError(Exception):
    """Something the user can mend; the text says how."""


def start(home: Path, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Start in a session of its own; output goes to `<home>/log/<name>.log`, the pid to `<home>/run/<name>.pid`."""
    (home / "log").mkdir(parents=True, exist_ok=True)
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "log" / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    try:
        started = psutil.Process(child.pid).create_time()
        (home / "run" / f"{name}.pid").write_text(f"{child.pid} {started}\n")
    except BaseException:
        child.kill()  # nobody would find it again
        raise
    return child.pid


def running(home: Path, name: str) -> psutil.Process | None:
    """The process that we started under this name, if it still lives (the start time guards against a reused pid)."""
    path = home / "run" / f"{name}.pid"
    if not path.exists():
        return None
    pid, started = path.read_text().split()
    try:
        process = psutil.Process(int(pid))
        alive = process.create_time() == float(started) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def names(home: Path) -> list[str]:
    return sorted(path.stem for path in (home / "run").glob("*.pid"))


def stop(home: Path, chosen: Sequence[str]) -> None:
    """SIGTERM to all of them together, SIGKILL to what is left after 20 s."""
    processes = [found for name in chosen if (found := running(home, name))]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=STOP_SECONDS)[1]:
        process.kill()
    for name in chosen:
        (home / "run" / f"{name}.pid").unlink(missing_ok=True)


def kill(home: Path, name: str) -> None:
    """SIGKILL, until nothing of it is left: while one of its threads is still dying, its port is taken.

    Raises StackError when it does not run, psutil.TimeoutExpired when it will not go.
    """
    process = running(home, name)
    if process is None:
        raise StackError(f"{name} does not run.")
    process.kill()
    process.wait(STOP_SECONDS)


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """All of it or nothing, whenever the program is stopped."""
    made = path.with_suffix(".new")
    made.unlink(missing_ok=True)
    made.touch(mode)
    made.write_text(text)
    made.chmod(mode)
    made.replace(path)


def need_free_port(port: int, what: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StackError(
                f"Port {port} ({what}) is taken. Stop what listens there (`ss -ltnp 'sport = :{port}'`) and try again."
            ) from None


_FIRST_PORT, _PORTS_EACH, _SHARES = 10_000, 200, 80
_given = itertools.count()


def free_port() -> int:
    """Below those that the system gives to clients (from 32768 on, as Linux is set up).

    A server that is killed and started again would find such a port taken by a client that tried to reach it meanwhile.
    Each process takes from a share of its own. Raises StackError when all of it is taken.
    """
    share = _FIRST_PORT + os.getpid() % _SHARES * _PORTS_EACH
    for _ in range(_PORTS_EACH):
        port = share + next(_given) % _PORTS_EACH
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StackError(f"Every port from {share} to {share + _PORTS_EACH - 1} is taken.")


def wait_for_port(port: int, home: Path, name: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if running(home, name) is None:
            break
        time.sleep(0.05)
    raise StackError(f"{name} did not start; its last words are in {home / 'log' / (name + '.log')}.")
