"""What an operator chooses about logs and spans. Imports no web framework: the command line reads it first."""

from dataclasses import dataclass

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import setting


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is told, how, and to whom."""

    log_format: str = setting("text", "lines for people, or one JSON object a line", choices=("text", "json"))
    log_level: str = setting(
        "info", "info: a line for every image; warning: only what is wrong", choices=("info", "warning", "error")
    )
    otlp_endpoint: str | None = setting(
        None,
        "send OpenTelemetry spans there, over HTTP (needs the extra `otel`): http://localhost:4318",
        metavar="URL",
    )

    def __post_init__(self) -> None:
        if self.otlp_endpoint is not None and not self.otlp_endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(f"otlp_endpoint {self.otlp_endpoint!r} does not begin with http:// or https://")
