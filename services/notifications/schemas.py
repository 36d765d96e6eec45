"""HTTP bodies of notifications."""

from typing import Annotated

from pydantic import Field

from shared.web.schemas import Body, Id, Instant, ShortText

People = Annotated[list[ShortText], Field(max_length=50)]


class StaffContact(Body):
    pager: ShortText


class OnCall(Body):
    """Who is on call now, by role: staff ids."""

    nurse: People
    prescriber: People
    medical_director: People


class Escalation(Body):
    id: Id
    alarm_id: Id
    state: str
    step: int
    room: str
    chair: str
    priority: str
    version: int


class Attempt(Body):
    no: int
    at: Instant
    result: str | None = None


class Message(Body):
    """What was sent, attempt by attempt; never the text or the address."""

    id: Id
    channel: str
    template: str
    subject_id: Id
    state: str
    attempts: list[Attempt]
    version: int
