"""What a refusal looks like: a problem (RFC 9457) that repeats nothing of what was sent."""

import httpx

MARKER = "secret-marker"


def refused(answer: httpx.Response) -> int | str:
    """The status; for what is no such problem, what it is instead. Whoever asks plants MARKER in what is sent."""
    what = f"{answer.status_code} {answer.headers.get('content-type')} {answer.text[:200]}"
    if answer.headers.get("content-type") != "application/problem+json":
        return what
    told = answer.json()
    if told["status"] != answer.status_code or not told["type"].startswith("urn:stillwater:problem:"):
        return what
    return what if MARKER in answer.text or MARKER in repr(answer.headers) else answer.status_code
