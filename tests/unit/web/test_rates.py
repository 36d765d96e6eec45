"""The bucket, what it tells, and that it forgets."""

from typing import Any

import pytest

from shared.errors import TooManyRequests
from shared.web.rates import RATE_FIELDS, Limiter


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fields(scope: dict[str, Any]) -> dict[str, str]:
    return {name.decode(): text.decode() for name, text in scope[RATE_FIELDS]}


def take(limiter: Limiter, subject: str = "n1") -> dict[str, str]:
    scope: dict[str, Any] = {}
    limiter.take(scope, subject)
    return fields(scope)


def test_what_is_left_is_told_and_comes_back_evenly() -> None:
    time = Time()
    limiter = Limiter(per_minute=60, now=time)
    assert take(limiter) == {"ratelimit": '"default";r=59;t=1', "ratelimit-policy": '"default";q=60;w=60'}
    for _ in range(58):
        take(limiter)
    assert take(limiter)["ratelimit"] == '"default";r=0;t=1'
    time.now += 30
    assert take(limiter)["ratelimit"] == '"default";r=29;t=31'


def test_above_the_quota_the_answer_says_when_to_come_again() -> None:
    time, scope = Time(), dict[str, Any]()
    limiter = Limiter(per_minute=6, now=time)
    for _ in range(6):
        take(limiter)
    with pytest.raises(TooManyRequests) as refused:
        limiter.take(scope, "n1")
    assert refused.value.headers == {"Retry-After": "10"}
    assert fields(scope)["ratelimit"] == '"default";r=0;t=10'
    take(limiter, "n2")
    time.now += 9.9
    with pytest.raises(TooManyRequests):
        take(limiter)
    time.now += 0.2
    take(limiter)


def test_refused_requests_do_not_push_the_time_away() -> None:
    time = Time()
    limiter = Limiter(per_minute=6, now=time)
    for _ in range(6):
        take(limiter)
    for _ in range(20):
        time.now += 0.5
        if time.now < 110:
            with pytest.raises(TooManyRequests):
                take(limiter)
    take(limiter)


def test_the_callers_not_heard_of_longest_are_forgotten() -> None:
    limiter = Limiter(per_minute=6, now=Time(), kept=3)
    for number in range(10):
        take(limiter, f"n{number}")
    assert [subject for _, subject in limiter._buckets] == ["n7", "n8", "n9"]


def test_the_form_counts_by_address_and_key() -> None:
    limiter = Limiter(form_per_minute=1, now=Time())

    def form(host: str, key: str = "pk") -> None:
        limiter.take_form({"client": (host, 1)}, key)

    form("192.0.2.1")
    form("192.0.2.2")
    form("192.0.2.1", "other")
    form("2001:db8::1")
    for host in ("192.0.2.1", "2001:db8::ffff"):
        with pytest.raises(TooManyRequests):
            form(host)
    form("2001:db8:0:1::1")
