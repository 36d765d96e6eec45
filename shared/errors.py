"""The one error tree. Each error knows its HTTP status; `shared/web/problems.py` renders it (RFC 9457).

StillwaterError
  BadRequest 400 | Unauthorized 401 | Forbidden 403 | NotFound 404 | RequestTimeout 408 | Conflict 409 | Gone 410
  PreconditionFailed 412 (VersionConflict) | TooLarge 413 | UnsupportedMedia 415 | Invalid 422
  PreconditionRequired 428 | TooManyRequests 429 | HeadersTooLarge 431 | Unavailable 503 (CommitUnknown, LeaseLost)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One fault in the input: a JSON pointer, words, and a code; never the value itself."""

    pointer: str
    detail: str
    code: str


class StillwaterError(Exception):
    """Base of all errors that a caller may see. `detail` must hold no patient data."""

    status = 500
    code = "internal"
    title = "Internal error"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        reasons: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = tuple(errors)
        self.reasons = tuple(reasons)
        self.headers = dict(headers or {})


class BadRequest(StillwaterError):
    status, code, title = 400, "bad-request", "Bad request"


class Unauthorized(StillwaterError):
    status, code, title = 401, "unauthorized", "A valid bearer token is needed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="stillwater"'})


class Forbidden(StillwaterError):
    status, code, title = 403, "forbidden", "Your role does not admit this"


class NotFound(StillwaterError):
    status, code, title = 404, "not-found", "Not found"


class RequestTimeout(StillwaterError):
    status, code, title = 408, "request-timeout", "The body did not arrive in time"


class Conflict(StillwaterError):
    """The state forbids it; `reasons` says what is missing."""

    status, code, title = 409, "conflict", "The present state does not allow this"


class Gone(StillwaterError):
    status, code, title = 410, "gone", "No longer available"


class PreconditionFailed(StillwaterError):
    status, code, title = 412, "precondition-failed", "The resource has changed"


class VersionConflict(PreconditionFailed):
    """Another writer was first. Raised by versioned writes."""


class TooLarge(StillwaterError):
    status, code, title = 413, "too-large", "The body is too large"


class UnsupportedMedia(StillwaterError):
    status, code, title = 415, "unsupported-media-type", "Send application/json"


class Invalid(StillwaterError):
    status, code, title = 422, "invalid", "The input is not valid"


class PreconditionRequired(StillwaterError):
    status, code, title = 428, "precondition-required", "Send If-Match with the ETag you read"


class TooManyRequests(StillwaterError):
    status, code, title = 429, "quota-exceeded", "Too many requests"

    def __init__(self, policy: str, retry_after_s: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after_s)})
        self.policy = policy


class HeadersTooLarge(StillwaterError):
    status, code, title = 431, "headers-too-large", "The headers are too large"


class Unavailable(StillwaterError):
    """Nothing is known to have happened; send the same request again after `Retry-After` seconds."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"

    def __init__(self, detail: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class LeaseLost(Unavailable):
    """Another holder has the lease: what was about to be written is its work now."""


class CommitUnknown(Unavailable):
    """The commit may have taken effect; the same Idempotency-Key tells."""
