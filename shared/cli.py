"""The command line of one service: `python -m services.<name> [api|worker|all|migrate|redrive|republish|...]`."""

import gc
import sys
from collections.abc import Coroutine
from typing import Any

import click
import uvloop

from shared.errors import StillwaterError
from shared.operate import redrive, republish, rotate_keys, verify_audit
from shared.persistence.mongo import StoreFault
from shared.service import Service, open_process
from shared.settings import read_settings
from shared.telemetry.logs import set_up_logs
from shared.telemetry.otlp import set_up

GARBAGE_AFTER = (20_000, 20, 20)  # new objects, and rounds: Python's own 700 are fewer than one batch of readings has
_ROLES = {
    "all": "api and worker in one process (the default)",
    "api": "HTTP alone",
    "worker": "relay, consumers, timers and watches alone",
}


def main(service: Service) -> None:
    """Wrong settings stop it at once, with all faults listed; exit code 2."""

    @click.group(service.name, help=f"Stillwater {service.name}.", invoke_without_command=True)
    @click.pass_context
    def group(context: click.Context) -> None:
        if context.invoked_subcommand is None:
            _run_role(service, "all")

    for role, text in _ROLES.items():
        group.add_command(_role(service, role, text))
    group.add_command(_migrate(service))
    for task in (redrive, republish, verify_audit, rotate_keys):
        group.add_command(task.command(service))
    group()


def _role(service: Service, role: str, text: str) -> click.Command:
    return click.Command(role, callback=lambda: _run_role(service, role), help=f"Run {text}.")


def _run_role(service: Service, role: str) -> None:
    settings = read_settings(service.name, service.settings)
    set_up_logs(service.name)
    shut_down = set_up(service.name, settings.otlp_endpoint, settings.trace_ratio)
    try:
        _run(service, role, _start(service, role))
    finally:
        shut_down()


async def _start(service: Service, role: str) -> None:
    await open_process(service, role).run()


def _migrate(service: Service) -> click.Command:
    async def migrate() -> None:
        for name in await open_process(service, "migrate").migrate():
            click.echo(f"{service.name}: {name} is done")

    return click.Command(
        "migrate",
        callback=lambda: _run(service, "migrate", migrate()),
        help="Build indexes and run the migrations that are not done yet; may run again at any time, beside the services.",
    )


def _run(service: Service, role: str, work: Coroutine[Any, Any, None]) -> None:
    _keep_what_is_loaded()
    try:
        uvloop.run(work)
    except StillwaterError as error:
        sys.exit(f"{service.name} {role}: {error.code}")
    except StoreFault as error:
        sys.exit(f"{service.name} {role}: the store says {_code_name(error)}")


def _keep_what_is_loaded() -> None:
    """Modules, models and routes are never garbage: the collector does not go through them again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_AFTER)


def _code_name(error: StoreFault) -> str:
    """What is wrong, without the driver's text: that holds values."""
    details = getattr(error, "details", None) or {}
    return str(details.get("codeName") or type(error).__name__)
