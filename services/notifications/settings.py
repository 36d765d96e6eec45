"""Environment variables with the prefix `NOTIFICATIONS_`."""

from typing import Literal

from pydantic import SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import Name, Port, Ring, ServiceSettings, Url, is_url


class NotificationsSettings(ServiceSettings):
    """`sms_url`, `pager_url`, `voice_url` may name several providers, separated by commas: tried in that order.

    An empty `voice_url`: nobody is called by voice.
    `fallback_pager` is paged when nobody else can be; `public_url` is where the one-time links lead.
    """

    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_", frozen=True, extra="ignore")

    mongodb_database: str = "notifications"
    api_port: Port = 8004
    health_port: Port = 8104
    transport_key_ring: Ring
    smtp_host: Name
    smtp_port: Port
    smtp_from: str = "clinic@stillwater.example"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    sms_url: str
    pager_url: str
    voice_url: str = ""
    fallback_pager: str
    public_url: Url

    @field_validator("sms_url", "pager_url")
    @classmethod
    def _are_urls(cls, text: str) -> str:
        for url in text.split(","):
            is_url(url.strip())
        return text.rstrip("/")

    @field_validator("voice_url")
    @classmethod
    def _are_urls_or_none(cls, text: str) -> str:
        return cls._are_urls(text) if text else text

    @field_validator("public_url")
    @classmethod
    def _without_a_slash(cls, text: str) -> str:
        return text.rstrip("/")

    @field_validator("fallback_pager")
    @classmethod
    def _is_given(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("must name a pager")
        return text

    def urls(self, channel: Literal["sms", "pager", "voice"]) -> tuple[str, ...]:
        text = {"sms": self.sms_url, "pager": self.pager_url, "voice": self.voice_url}[channel]
        return tuple(url.strip() for url in text.split(",") if url.strip())
