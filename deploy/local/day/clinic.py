"""The clinic of the day as its chairs meet it: its APIs, its people, its clock, and what is heard on its topics."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from rich.console import Console

from deploy.local.ears import Ears
from deploy.local.stack import CLOCK_FILE, Stack
from shared.clock import ScaledClock, append_step
from shared.events.envelope import rfc3339

T = TypeVar("T")
FAST, SLOW = 60.0, 1.0  # clinical seconds in one of real time: while everybody waits; while an alarm stands
PATIENCE_SECONDS = 60.0


class DayError(Exception):
    """The day did not go as it should; the text says where."""


class Clinic:
    """One nurse on call with a second behind her, a prescriber, the director. Safe to use from several threads."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack, self.console = stack, console
        self.clock = ScaledClock(stack.home / CLOCK_FILE)
        self.ears = Ears(stack.kafka)
        self.client = httpx.Client(timeout=15)
        self.site = ""
        self.nurse, self.second, self.doctor = (f"{role}-{uuid4().hex[:6]}" for role in ("nurse", "nurse", "doctor"))
        self._failed: BaseException | None = None
        self._telling = threading.Lock()

    def tell(self, where: str, who: str, what: str, caused: list[str]) -> None:
        """One line: when, where, who, what, and the events that it caused."""
        at = self.clock.clinical_now().strftime("%H:%M:%S")
        carried = f"  [cyan]{', '.join(caused)}[/]" if caused else ""
        with self._telling:
            self.console.print(f"[dim]{at}[/] [magenta]{where:<10}[/] [bold]{who:<13}[/] {what}{carried}")

    def call(
        self, role: str, method: str, service: str, path: str, body: Any = None, expect: int = 200, **headers: str
    ) -> Any:
        token = self.stack.token(role, {"nurse": self.nurse, "prescriber": self.doctor}.get(role, f"{role}-1"))
        sent = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        answer = self.client.request(method, self.stack.url(service) + path, json=body, headers=sent)
        if answer.status_code != expect:
            raise DayError(f"{method} {path} answered {answer.status_code}, expected {expect}: {answer.text[:300]}")
        return answer.json() if answer.content else None

    def until(self, what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
        """Looks every tenth of a second; raises DayError when that is in vain, and when another thread has failed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._failed is not None:
                raise DayError(str(self._failed)) from self._failed
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise DayError(f"Waited {seconds:.0f} s in vain for {what}; the logs are in {self.stack.home / 'log'}.")

    def until_clinical(self, at: datetime) -> None:
        self.until(f"{at:%H:%M:%S}", lambda: self.clock.clinical_now() >= at, 150)

    def fail(self, error: BaseException) -> None:
        """Whoever waits gives up; the first failure is the one that counts."""
        self._failed = self._failed or error

    def together(self, *steps: Callable[[], object]) -> None:
        """All at once, until each has ended. Raises what the first one raised."""
        with ThreadPoolExecutor(len(steps)) as pool:
            jobs = [pool.submit(step) for step in steps]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException as error:
                self.fail(error)
                raise

    def arrived(self, kind: str, text: str) -> list[dict[str, Any]]:
        """Messages at the providers' sinks that hold the text."""
        rows: list[dict[str, Any]] = self.client.get(f"{self.stack.issuer}/messages", params={"kind": kind}).json()
        return [row for row in rows if text in str(row)]

    def rate(self, rate: float) -> None:
        step = append_step(self.stack.home / CLOCK_FILE, rate, after_s=0.5)
        self.until("the clock", lambda: self.clock.system_now() > step.system_at, 3)

    def opens(self) -> None:
        """Its rota, its pagers, and what the REMS asks of the place and its people."""
        rota = {"nurse": [self.nurse, self.second], "prescriber": [self.doctor], "medical_director": ["director-1"]}
        self.call("medical_director", "PUT", "notifications", "/v1/on-call", rota, 204)
        for person in (self.nurse, self.second, self.doctor, "director-1"):
            body = {"pager": f"pager-{person}"}
            self.call("medical_director", "PUT", "notifications", f"/v1/staff-contacts/{person}", body, 204)
        doctor = {"staff_id": self.doctor, "roles": ["prescriber"], "locations": []}
        self.call("medical_director", "POST", "scheduling", "/v1/staff", doctor, 201)
        self.site = self._certified_site()

    def _certified_site(self) -> str:
        """The one of an earlier day while its certificate holds."""
        known = self.call("medical_director", "GET", "intake", "/v1/clinic")
        now, later = (rfc3339(self.clock.clinical_now() + timedelta(days=days)) for days in (0, 365))
        if all((place["rems_certified_until"] or "") <= now for place in known["locations"]):
            places = {"locations": [*known["locations"], {"label": "Main house", "rems_certified_until": later}]}
            version = f'"v{known["version"]}"'
            known = self.call("medical_director", "PUT", "intake", "/v1/clinic/locations", places, If_Match=version)
        certified = [place for place in known["locations"] if (place["rems_certified_until"] or "") > now]
        return str(certified[-1]["id"])
