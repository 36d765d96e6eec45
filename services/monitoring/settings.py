from pydantic_settings import SettingsConfigDict

from shared.settings import Name, Port, ServiceSettings


class MonitoringSettings(ServiceSettings):
    """Environment variables with the prefix `MONITORING_`."""

    model_config = SettingsConfigDict(env_prefix="MONITORING_", frozen=True, extra="ignore")

    mongodb_database: str = "monitoring"
    api_port: Port = 8003
    health_port: Port = 8103
    board_client_id: Name = "stillwater-board"
