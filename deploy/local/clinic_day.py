"""A clinic day through the public APIs with real HTTP clients; says what happens, who did it and what it caused."""

import signal
import sys
from typing import Any

import httpx
from rich.console import Console

from deploy.local.day.chair import Chair
from deploy.local.day.clinic import FAST, SLOW, Clinic, DayError
from deploy.local.day.esketamine import EsketamineChair
from deploy.local.day.iv import IvChair
from deploy.local.day.lozenge import LozengeChair
from deploy.local.day.trace import alarm_trace, show_trace
from deploy.local.processes import StackError
from deploy.local.stack import CLOCK_FILE, ROOT, Stack
from shared.clock import append_step


class Day(Clinic):
    """Three chairs at once: one with an alarm, one calm, one with a monitor that falls silent."""

    def __init__(self, stack: Stack, console: Console) -> None:
        super().__init__(stack, console)
        self.iv, self.esketamine, self.lozenge = IvChair(self), EsketamineChair(self), LozengeChair(self)
        self.chairs: tuple[Chair, ...] = (self.iv, self.esketamine, self.lozenge)

    def play(self) -> None:
        """However the day ends, the clinical clock goes at its own rate afterwards."""
        try:
            with self.ears:
                self._play()
        finally:
            for chair in self.chairs:
                chair.monitor.unplug()
            append_step(self.stack.home / CLOCK_FILE, 1, after_s=0.5)

    def _play(self) -> None:
        self.rate(FAST)
        self.opens()
        self.tell(
            "clinic", "director", "the rota has two nurses, a prescriber and the director; three chairs are free", []
        )
        self.together(*(chair.arrive for chair in self.chairs))
        self.rate(SLOW)
        self.together(*(chair.treat for chair in self.chairs))
        self.rate(FAST)
        self.together(*(chair.leave for chair in self.chairs))

    def trace(self) -> tuple[str, list[dict[str, Any]]]:
        return alarm_trace(self)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, the clock is set back
    console = Console(highlight=False)
    stack = Stack(ROOT / ".local")
    day, board = Day(stack, console), f"{stack.url('monitoring')}/board (sign in as nurse)"
    console.print(f"To watch the three chairs while they are taken: {board}")
    try:
        day.play()
        show_trace(console, *day.trace())
    except (DayError, StackError, httpx.HTTPError) as error:
        console.print(f"[red]The day stopped:[/] {error}")
        sys.exit(1)
    for service in ("intake", "scheduling", "monitoring", "notifications"):
        console.print(f"  {service:<14} {stack.url(service)}/docs")
    console.print(f"  sinks          {stack.issuer}/messages\n  telemetry      {stack.issuer}/spans, /logs, /metrics")
    console.print("  a token        make token ROLE=nurse")
    console.print(f"  the board      {board}")
    console.print("  the end        make down")


if __name__ == "__main__":
    main()
