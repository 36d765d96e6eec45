"""HTTP bodies of notifications; never reused as events or documents."""

from typing import Annotated, Literal

from pydantic import Field

from shared.web.schemas import Body, Id, Instant

StaffId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
People = Annotated[list[StaffId], Field(max_length=50)]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
Email = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Pager = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-~]+$")]


class StaffContact(Body):
    """Pages go to the pager, and to the phone by SMS when the pager cannot be reached.

    `voice` is called too when nobody has accepted and the ladder repeats, and at once where there is nothing else.
    """

    pager: Pager | None = None
    phone: Phone | None = None
    voice: Phone | None = None
    email: Email | None = None


class OnCall(Body):
    """Who is on call now, by role: staff ids. `operator` is told of trouble with the system."""

    nurse: People = Field(default_factory=list)
    prescriber: People = Field(default_factory=list)
    medical_director: People = Field(default_factory=list)
    operator: People = Field(default_factory=list)


class Preferences(Body):
    """Channels that this patient allows."""

    email: bool
    sms: bool


class Sign(Body):
    sign: str
    value: float
    unit: str
    limit: float


class Escalation(Body):
    """`step` counts from 0 within the present `run` of paging; -1: none taken."""

    id: Id
    alarm_id: str
    session_id: str | None = None
    kind: str
    state: Literal["paging", "accepted", "attended", "ended"]
    priority: str
    run: int
    step: int
    room: str | None = None
    chair: str | None = None
    signs: list[Sign]
    raised_at: Instant
    version: int


class Attempt(Body):
    """`sends` above 1: sent again with the same key, because the result of the call was not known."""

    no: int
    round: int
    route: str
    key: str
    at: Instant
    sends: int
    result: str | None = None
    finished_at: Instant | None = None


class Message(Body):
    """What was sent, attempt by attempt; never the address."""

    id: Id
    template: str
    template_version: str
    channel: str
    subject_id: str
    state: Literal["waiting", "quiet", "pending", "delivered", "failed", "cancelled", "suppressed"]
    code: str | None = None
    attempts: list[Attempt]
    text: str | None = None
    created_at: Instant
    version: int


class Task(Body):
    id: Id
    kind: str
    subject: str
    code: str | None = None
    state: Literal["open", "claimed", "snoozed", "done"]
    claimed_by: str | None = None
    snoozed_until: Instant | None = None
    created_at: Instant
    version: int


class Snooze(Body):
    until: Instant
