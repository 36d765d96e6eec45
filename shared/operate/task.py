"""What the operators' commands share: one process without roles, its store, and a clean end."""

import getpass
from collections.abc import Awaitable, Callable

import click
import uvloop

from shared.errors import StillwaterError
from shared.service import Process, Service, open_process


def run_task(service: Service, work: Callable[[Process], Awaitable[int]]) -> None:
    """Run `work` and exit with what it returns; 1 with the reason when the store does not answer."""

    async def whole() -> int:
        process = open_process(service, "task")
        try:
            return await work(process)
        finally:
            process.mongo.close()

    try:
        code = uvloop.run(whole())
    except StillwaterError as error:
        raise click.ClickException(f"{service.name}: {error.code}") from None
    raise SystemExit(code)


def operator() -> str:
    """Who ran the command, for the rows that it changes."""
    return f"operator:{getpass.getuser()}"
