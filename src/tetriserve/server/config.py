"""What an operator can set about the server, beside where it listens and what it serves."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import setting
from tetriserve.runtime.classes import DEFAULT_CLASSES, ServiceClass, read_classes, write_classes

KEYS_VARIABLE = "TETRISERVE_API_KEYS"
"""Holds keys, separated by commas. Not a setting: what is secret is in no file that is shown, and in no flag."""


MAX_GRACE_S = 3600.0
MEMORY = "memory"
"""The job store that keeps nothing."""
JOB_STORES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


def _write_job_store(url: str | None) -> str | None:
    """As it is shown: a password is not. libpq also finds passwords in ~/.pgpass and PGPASSWORD."""
    return None if url is None else re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Who is let in, and what is kept for them. `api_keys` maps names of callers to keys; empty: everybody may call."""

    admission: str = setting(
        "best-effort",
        "what becomes of a request that is predicted to be late: served all the same; refused (429); or made in fewer "
        "steps, down to its min_num_inference_steps, and else refused",
        choices=("best-effort", "reject", "degrade"),
    )
    max_queue: int = setting(1000, "unfinished images at a time; more are refused (429)", metavar="N")
    classes: Mapping[str, ServiceClass] = setting(
        DEFAULT_CLASSES,
        "service classes: F times the default deadline, weight W where somebody must be left out",
        metavar="NAME=F:W,...",
        read=read_classes,
        write=write_classes,
    )
    api_key_file: Path | None = setting(
        None, f"API keys, one a line as KEY or NAME:KEY; more in {KEYS_VARIABLE}", metavar="FILE", write=str
    )
    cors_origins: tuple[str, ...] = setting((), "pages of these origins may call", metavar="URL,...", write=list)
    result_ttl_s: float = setting(3600.0, "how long files behind result URLs live", metavar="S")
    result_mb: int = setting(256, "megabytes of memory for the files behind result URLs", metavar="N")
    state_dir: Path | None = setting(
        None,
        "where background jobs and their results are kept; each server needs its own (default: tetriserve in the "
        "user's directory for state, like ~/.local/state)",
        metavar="DIR",
        write=str,
    )
    job_store: str | None = setting(
        None,
        "database of jobs: sqlite:///FILE, postgresql://USER@HOST/NAME, or memory, which ends with the server and "
        "writes nothing (default: jobs.db in state_dir)",
        metavar="URL",
        write=_write_job_store,
    )
    max_jobs: int = setting(1000, "finished background jobs that are remembered", metavar="N")
    job_ttl_s: float = setting(86400.0, "how long finished jobs and their results are kept", metavar="S")
    job_mb: int = setting(
        4096, "megabytes on disk for results of jobs (with job_store = memory, result_mb is the bound)", metavar="N"
    )
    grace_s: float = setting(
        20.0, "how long requests may go on after SIGTERM or Ctrl-C; jobs that don't end by then run again", metavar="S"
    )
    public_url: str | None = setting(
        None, "what result URLs begin with (default: the name that the server was called by)", metavar="URL"
    )
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_queue", "result_mb", "max_jobs", "job_mb"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("result_ttl_s", "job_ttl_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} is {getattr(self, name)}, must be a positive number of seconds")
        if not 0 <= self.grace_s <= MAX_GRACE_S:
            raise ConfigurationError(f"grace_s is {self.grace_s}, must be from 0 to {MAX_GRACE_S:g}")
        if self.job_store is not None and self.job_store != MEMORY and not self.job_store.startswith(JOB_STORES):
            shown = _write_job_store(self.job_store)
            raise ConfigurationError(
                f"job_store is {shown!r}, must be {MEMORY} or begin with {' or '.join(JOB_STORES)}"
            )
        if self.public_url is not None and not self.public_url.startswith(("http://", "https://")):
            raise ConfigurationError(f"public_url {self.public_url!r} does not begin with http:// or https://")

    def is_open_at(self, host: str) -> bool:
        """Whether others than this machine can call without a key, if it listens there."""
        if self.api_keys:
            return False
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"
