"""How many requests a caller may make: token buckets of this process, and the RateLimit fields that tell (interop.md 6)."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from shared.errors import TooManyRequests

RATE_FIELDS = "stillwater.rate"  # in the ASGI scope: the fields that the answer carries
KEPT = 20_000
_WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Policy:
    """So many requests a minute: all of them may come at once, then they come back evenly."""

    name: str
    per_minute: int

    @property
    def per_second(self) -> float:
        return self.per_minute / _WINDOW_SECONDS

    @property
    def field(self) -> bytes:
        return f'"{self.name}";q={self.per_minute};w={_WINDOW_SECONDS}'.encode()


class Limiter:
    """Per process: n replicas admit n times as much. The callers not heard of longest are forgotten, their buckets full."""

    def __init__(
        self, now: Callable[[], float], per_minute: int = 6000, form_per_minute: int = 30, kept: int = KEPT
    ) -> None:
        self._default, self._form = Policy("default", per_minute), Policy("form", form_per_minute)
        self._now, self._kept = now, kept
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, scope: Scope, subject: str) -> None:
        """One request of a token's subject; raises TooManyRequests."""
        self._take(scope, self._default, subject)

    def take_form(self, scope: Scope, key: str) -> None:
        """One use of the public form with this publishable key, from one address; raises TooManyRequests.

        The address is that of the peer, or what a proxy named in FORWARDED_ALLOW_IPS says (uvicorn).
        """
        self._take(scope, self._form, f"{_network(scope)} {key}")

    def _take(self, scope: Scope, policy: Policy, caller: str) -> None:
        now, name = self._now(), (policy.name, caller)
        left, at = self._buckets.pop(name, (float(policy.per_minute), now))
        left = min(float(policy.per_minute), left + (now - at) * policy.per_second)
        enough = left >= 1
        left -= enough
        self._buckets[name] = (left, now)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        # How long what is left must last: until the bucket is full again; with nothing left, until there is one more.
        wanted = policy.per_minute if left >= 1 else 1
        seconds = max(1, math.ceil((wanted - left) / policy.per_second))
        told = f'"{policy.name}";r={int(left)};t={seconds}'.encode()
        scope[RATE_FIELDS] = ((b"ratelimit", told), (b"ratelimit-policy", policy.field))
        if not enough:
            raise TooManyRequests(policy.name, seconds)


def _network(scope: Scope) -> str:
    """One household is one caller: of an IPv6 address the first 64 bits."""
    host = str((scope.get("client") or ("unknown", 0))[0])
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else host
