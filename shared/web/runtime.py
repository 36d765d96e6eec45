"""What one process of a service has at hand; made once by the runner."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.clock import Clock
from shared.persistence.mongo import Mongo
from shared.persistence.vault import KeyRing
from shared.web.auth import Tokens
from shared.web.rates import Limiter


@dataclass(frozen=True)
class Runtime:
    mongo: Mongo
    clock: Clock
    ring: KeyRing
    tokens: Tokens
    signing_key: bytes
    deps: Any
    limiter: Limiter
    form_origins: tuple[str, ...] = ()
    outbox_full: Callable[[], bool] = lambda: False
