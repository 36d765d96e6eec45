from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class NotificationsSettings(ServiceSettings):
    """Environment variables with the prefix `NOTIFICATIONS_`."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATIONS_", frozen=True, extra="ignore")

    mongodb_database: str = "notifications"
    api_port: int = 8004
    health_port: int = 8104
    smtp_host: str
    smtp_port: int
    smtp_from: str = "clinic@stillwater.example"
    sms_url: str
    pager_url: str
    fallback_pager: str
    public_url: str
