"""Events that every producer has, each as a subclass in its own file."""

from datetime import datetime

from shared.events.envelope import Event


class ServiceTroubleRaised(Event):
    """Something of this service needs an operator: notifications pages those on call."""

    code: str
    count: int = 1
    since: datetime


class ServiceTroubleCleared(Event):
    """It is over; nobody is paged for that."""

    code: str
    since: datetime


class AlarmContentRefused(Event):
    """The broker refused an event of the alarm lane; `aggregate` ("alarm/0190...") says what people should look at.

    `session_id`: where the event said which, so that the page finds the place and who answers for it.
    """

    refused_type: str
    aggregate: str
    session_id: str | None = None
