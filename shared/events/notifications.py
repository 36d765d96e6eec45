"""What notifications tells the others."""

from datetime import datetime
from typing import ClassVar, Literal

from shared.events import common
from shared.events.envelope import Event


class _NotificationsEvent(Event):
    SERVICE: ClassVar[str] = "notifications"


class NotificationDelivered(_NotificationsEvent):
    notification_id: str
    template: str
    channel: Literal["email", "sms", "pager", "voice"]
    attempts: int


class EscalationStarted(_NotificationsEvent):
    escalation_id: str
    alarm_id: str


class EscalationStepTaken(_NotificationsEvent):
    escalation_id: str
    alarm_id: str
    step: int
    role: str


class EscalationAcknowledged(_NotificationsEvent):
    escalation_id: str
    alarm_id: str
    by: str
    by_role: str
    at: datetime
    channel: Literal["link", "api"]


class NotificationFailed(_NotificationsEvent):
    notification_id: str
    template: str
    channel: Literal["email", "sms", "pager", "voice"]
    attempts: int
    error_code: str


class EscalationExhausted(_NotificationsEvent):
    """Every step of the ladder was taken and nobody accepted; high priority begins again."""

    escalation_id: str
    alarm_id: str
    step: int
    role: str


class ContactOptedOut(_NotificationsEvent):
    patient_id: str
    channel: Literal["email", "sms"]


class ServiceTroubleRaised(_NotificationsEvent, common.ServiceTroubleRaised):
    """See common."""


class ServiceTroubleCleared(_NotificationsEvent, common.ServiceTroubleCleared):
    """See common."""
