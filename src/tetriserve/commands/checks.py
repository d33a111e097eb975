"""What `serve` refuses before it opens, writes, downloads or starts anything, and `config` too."""

import os
from dataclasses import replace

from tetriserve.configuration.tree import Configuration
from tetriserve.core.errors import ConfigurationError
from tetriserve.runtime.checks import check_settings
from tetriserve.server.config import KEYS_VARIABLE, MEMORY, ServerConfig


def checked(configuration: Configuration, num_devices: int | None) -> Configuration:
    """The same with its API keys. `num_devices` is None where it is not known. Raises ConfigurationError."""
    check_settings(configuration.serving, num_devices)
    server = _with_keys(configuration.server)
    if server.job_store is not None and server.job_store != MEMORY:
        from tetriserve.server.disk_archive import database  # noqa: PLC0415  (imports SQLAlchemy)

        database(server.job_store)
    if configuration.logs.otlp_endpoint is not None:
        _check_tracing()
    return replace(configuration, server=server)


def _with_keys(server: ServerConfig) -> ServerConfig:
    if server.api_key_file is None and not os.environ.get(KEYS_VARIABLE):
        return server
    from tetriserve.server.keys import with_keys  # noqa: PLC0415  (imports the web framework)

    return with_keys(server)


def _check_tracing() -> None:
    try:
        import tetriserve.server.spans  # noqa: F401, PLC0415  (an extra)
    except ImportError as error:
        raise ConfigurationError(
            f"otlp_endpoint needs OpenTelemetry ({error.name} is missing): pip install 'tetriserve[otel]'"
        ) from error
