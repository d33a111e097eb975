"""The whole configuration of a server: every package's settings, put together."""

from dataclasses import dataclass

from tetriserve.core.setting import group
from tetriserve.runtime.config import ServingConfig
from tetriserve.server.address import ListenConfig
from tetriserve.server.config import ServerConfig
from tetriserve.server.log_config import LogConfig


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that `tetriserve config` shows. To add a setting, add a field to one of these or to what they hold."""

    listen: ListenConfig = group(ListenConfig, "listening")
    server: ServerConfig = group(ServerConfig, "admission, access, results")
    logs: LogConfig = group(LogConfig, "logs, traces")
    serving: ServingConfig = group(ServingConfig, "serving")
