"""`python -m deploy.local up|down|migrate|token`: what the Makefile calls."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

import click
from rich.console import Console

from deploy.local.processes import StackError
from deploy.local.stack import CLINIC, ROOT, Stack

console = Console(highlight=False)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(text):
        yield
    console.print(f"  [green]ok[/] {text} [dim]{time.monotonic() - started:.1f} s[/]")


@click.group(help="The embedded stack: real MongoDB, real Apache Kafka, the four services; no Docker.")
def cli() -> None: ...


@cli.command(help="Start everything and return when every /readyz answers 200.")
@click.option("--roles", type=click.Choice(["all", "split"]), default="all", help="split: api and worker apart")
@click.option("--replicas", type=click.IntRange(1, 5), default=1, help="of each process, with --roles split")
def up(roles: str, replicas: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, what was started is stopped again
    stack = Stack(ROOT / ".local")
    started = time.monotonic()
    try:
        stack.up(step, replicas=replicas if roles == "split" else 0)
    except StackError as error:
        console.print(f"  [red]failed[/] {error}")
        raise SystemExit(1) from None
    console.print(f"Stillwater is up after {time.monotonic() - started:.1f} s; addresses: .local/stack.json")


@cli.command(help="Stop everything that `up` started.")
def down() -> None:
    Stack(ROOT / ".local").down()
    console.print("Stillwater is down.")


@cli.command(help="Build indexes and run the migrations of the four services, beside them.")
def migrate() -> None:
    try:
        Stack(ROOT / ".local").migrate()
    except StackError as error:
        console.print(f"  [red]failed[/] {error}")
        raise SystemExit(1) from None


@cli.command(help="Print a bearer token of the local issuer.")
@click.option("--role", required=True)
@click.option("--clinic", default=CLINIC, show_default=True)
@click.option("--patient", default=None, help="for role patient: whose token it is")
@click.option("--subject", default=None, help="who the token names; default: <role>-1")
def token(role: str, clinic: str, patient: str | None, subject: str | None) -> None:
    click.echo(Stack(ROOT / ".local").token(role, subject or f"{role}-1", clinic, patient))


if __name__ == "__main__":
    cli()
