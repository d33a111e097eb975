"""What the routes of one application share."""

from dataclasses import dataclass

from fastapi import Request

from tetriserve.runtime.service import Service
from tetriserve.server.admission import Gate
from tetriserve.server.archive import JobArchive, MemoryArchive
from tetriserve.server.config import ServerConfig
from tetriserve.server.job_index import JobIndex, Limits
from tetriserve.server.jobs import Jobs
from tetriserve.server.keys import ANYBODY
from tetriserve.server.results import ResultStore

FILES_PATH = "/v1/images/files"
JOBS_PATH = "/v1/images/jobs"
WARNING_HEADER = "X-TetriServe-Warning"


@dataclass(frozen=True, slots=True)
class Context:
    """A running service and everything this application keeps beside it."""

    service: Service
    config: ServerConfig
    gate: Gate
    results: ResultStore
    jobs: Jobs

    @classmethod
    def of(cls, service: Service, config: ServerConfig, archive: JobArchive | None = None) -> "Context":
        """Nothing held, nothing kept. Without an archive jobs end with the process."""
        gate = Gate(service, config)
        results = ResultStore(config.result_ttl_s, config.result_mb << 20)
        archive = archive or MemoryArchive()
        job_mb = config.job_mb if archive.outlives_server else config.result_mb
        index = JobIndex(Limits(config.max_jobs, config.job_ttl_s, job_mb << 20))
        return cls(service, config, gate, results, Jobs(service, gate, archive, index))

    def file_url(self, request: Request, token: str) -> str:
        """Where a file can be had, by the name that the server was called by or is known by."""
        base = self.config.public_url or str(request.base_url)
        return f"{base.rstrip('/')}{FILES_PATH}/{token}"


def caller_of(request: Request) -> str:
    """The name that belongs to the request's API key."""
    name: str = getattr(request.state, "caller", ANYBODY)
    return name


def warning_headers(warnings: tuple[str, ...] | list[str]) -> dict[str, str]:
    """The header that says what was not done as asked, if there is anything to say."""
    if not warnings:
        return {}
    # Escaped, because a field's name may hold line breaks, which would end the header.
    return {WARNING_HEADER: "; ".join(warnings).encode("unicode_escape").decode("ascii")}
