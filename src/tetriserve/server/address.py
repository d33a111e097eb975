"""What an operator chooses about the door. Imports no web framework: the command line reads it before it needs one."""

from dataclasses import dataclass

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import setting

MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where to listen."""

    host: str = setting("127.0.0.1", "address to listen on; the default is reached from this machine only")
    port: int = setting(8000, "port to listen on; 0 takes any free one", metavar="N")

    def __post_init__(self) -> None:
        if not self.host.strip():  # the system takes it for every address of this machine
            raise ConfigurationError(f"host is {self.host!r}: 0.0.0.0 is every address of this machine")
        if not 0 <= self.port <= MAX_PORT:
            raise ConfigurationError(f"port is {self.port}, must be from 0 to {MAX_PORT}")
