"""Pure: what a message says, when it may be sent, and what follows a failed attempt."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from string import Formatter
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StringConstraints, model_validator

from shared.protocols import Protocol

Channel = Literal["email", "sms", "pager"]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
FACTS = frozenset({"name", "start"})
SMS_CHARS = 160
PAGE_GIVES_UP = timedelta(hours=1)
MAIL_GIVES_UP = timedelta(hours=48)
SIGN_NAMES = {
    "8480-6": "systolic pressure",
    "8462-4": "diastolic pressure",
    "8867-4": "heart rate",
    "59408-5": "SpO2",
    "2708-6": "SpO2",
    "9279-1": "respiratory rate",
    "8310-5": "temperature",
    "19891-1": "EtCO2",
    "moaas": "MOAA/S",
    "symptoms": "neurological or cardiac symptoms",
    "spo2_and_breathing": "SpO2 and breathing low together",
    "spo2_and_sedation": "SpO2 low in sedation",
    "breathing_and_sedation": "breathing slow in sedation",
}
UNITS_SPOKEN = {
    "mm[Hg]": "millimetres of mercury",
    "/min": "per minute",
    "%": "percent",
    "Cel": "degrees Celsius",
}


class Text(Protocol):
    subject: Annotated[str, Field(min_length=1, max_length=120)]
    text: Annotated[str, Field(min_length=1, max_length=4000)]


class Template(Protocol):
    """One message in every language: as e-mail, and as SMS for those without an address."""

    email: Mapping[Language, Text]
    sms: Mapping[Language, Annotated[str, Field(min_length=1, max_length=SMS_CHARS)]]

    @model_validator(mode="after")
    def _says_only_what_it_may(self) -> "Template":
        """A subject line and an SMS hold no name; an e-mail only the facts that every sender of it gives."""
        for text in self.email.values():
            _only(text.subject, frozenset())
            _only(text.text, FACTS)
        for line in self.sms.values():
            _only(line, frozenset({"start"}))
        return self


class MessageTexts(Protocol):
    """protocols/messages.yaml."""

    version: str
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    quiet_from: time
    quiet_until: time
    time_zone: str
    templates: Mapping[Code, Template]

    @model_validator(mode="after")
    def _is_whole(self) -> "MessageTexts":
        for template in self.templates.values():
            if set(template.email) != set(self.languages) or set(template.sms) != set(self.languages):
                raise ValueError("every template has every language")
        _zone(self.time_zone)
        return self

    def render(self, template: str, channel: Channel, language: str, facts: Mapping[str, str]) -> Text:
        """In the subject's language, else in the first. Raises KeyError for a fact that is not given."""
        content = self.templates[template]
        spoken = language if language in self.languages else self.languages[0]
        if channel == "sms":
            return Text(subject="-", text=content.sms[spoken].format_map(facts))
        text = content.email[spoken]
        return Text(subject=text.subject, text=text.text.format_map(facts))


def _only(text: str, allowed: frozenset[str]) -> None:
    for _, name, spec, conversion in Formatter().parse(text):
        if name is not None and (name not in allowed or spec or conversion):
            raise ValueError("a placeholder is not one of: " + ", ".join(sorted(allowed)))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("time_zone is not known") from None


def local_time(moment: datetime, time_zone: str) -> str:
    return moment.astimezone(ZoneInfo(time_zone)).strftime("%A, %d %B %Y at %H:%M (%Z)")


def quiet_until(texts: MessageTexts, now: datetime, time_zone: str | None) -> datetime | None:
    """When quiet hours end for an SMS that is not urgent (47 CFR 64.1200(c)(1)); None outside of them."""
    zone = ZoneInfo(time_zone or texts.time_zone)
    local = now.astimezone(zone)
    if texts.quiet_until <= local.time() < texts.quiet_from:
        return None
    day = local.date() if local.time() < texts.quiet_until else local.date() + timedelta(days=1)
    return datetime.combine(day, texts.quiet_until, zone).astimezone(now.tzinfo)


def alarm_kind(category: str) -> str:
    """What is not known to be about the measuring is about the patient."""
    return "technical alarm" if category == "technical" else "alarm"


def page_text(alarm: Mapping[str, Any], raised_at: datetime, now: datetime, old_s: float) -> str:
    """Room, chair, sign and value; never a name or a label. A page older than the policy's bound says so."""
    age = (now - raised_at).total_seconds()
    late = f" (LATE: raised {age / 60:.0f} min ago)" if age > old_s else ""
    told = ", ".join(_sign(sign, sign["unit"]) for sign in alarm.get("signs", ())) or alarm.get("what", "")
    return f"{str(alarm['priority']).upper()} {alarm['kind']}{late}: {_place(alarm)}: {told}"


def spoken_text(alarm: Mapping[str, Any], raised_at: datetime, now: datetime, old_s: float) -> str:
    """The same, to be read out by a machine."""
    age = (now - raised_at).total_seconds()
    late = f", raised {age / 60:.0f} minutes ago" if age > old_s else ""
    signs = [_sign(sign, UNITS_SPOKEN.get(sign["unit"], sign["unit"])) for sign in alarm.get("signs", ())]
    told = ", ".join(signs) or str(alarm.get("what", "")).replace("_", " ")
    return f"{alarm['priority']} priority {alarm['kind']}{late}. {_place(alarm)}. {told}."


def text_of(channel: str, alarm: Mapping[str, Any], raised_at: datetime, now: datetime, old_s: float) -> str:
    """What a page says by this channel."""
    return (spoken_text if channel == "voice" else page_text)(alarm, raised_at, now, old_s)


def _place(alarm: Mapping[str, Any]) -> str:
    parts = (alarm.get("room"), f"chair {alarm['chair']}" if alarm.get("chair") else None)
    return ", ".join(part for part in parts if part) or "place unknown, look at the board"


def _sign(sign: Mapping[str, Any], unit: str) -> str:
    name = SIGN_NAMES.get(str(sign["sign"]), str(sign["sign"]))
    return f"{name} {sign['value']:g} {unit}"


def compose(sender: str, to: str, message_id: str, text: Text, calendar: str | None, method: str) -> EmailMessage:
    """Raises ValueError when a header would hold a line break."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, to, text.subject
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text.text)
    if calendar:
        message.add_attachment(calendar, subtype="calendar", filename="appointment.ics", params={"method": method})
    return message


def next_attempt(urgent: bool, failures: int, routes: int) -> timedelta:
    """The pause after the `failures`-th failure (from 1): another route is tried at once, a whole lap backs off."""
    lap = (failures - 1) // max(routes, 1)
    if failures % max(routes, 1):
        return timedelta(seconds=0.2)
    return (
        timedelta(seconds=min(0.5 * 2.0 ** min(lap, 10), 15))
        if urgent
        else timedelta(seconds=min(5 * 3.0 ** min(lap, 8), 1800))
    )


def pick_route(routes: Sequence[str], refused: Sequence[str], failures: int) -> str | None:
    """The provider of the next attempt: in their order, round and round, without those that refused for good."""
    left = [route for route in routes if route not in refused]
    return left[failures % len(left)] if left else None
