"""The server over an engine that sleeps, as a process of its own: it starts at once, and can be killed."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from server.sleeping import make_service
from tetriserve.commands.serve import serve_context
from tetriserve.configuration.resolve import resolve
from tetriserve.configuration.tree import Configuration
from tetriserve.server.context import Context
from tetriserve.server.disk_archive import open_archive
from tetriserve.server.keys import with_keys
from tetriserve.server.listen import bind

PATH = "/v1/images/generations"
JOBS = "/v1/images/jobs"
FAILING = "FAILING_REQUEST_ID"


@dataclass
class Program:
    """A running server and its client."""

    process: "subprocess.Popen[str]"
    client: httpx.Client

    def start_job(self, **body: object) -> str:
        """A job's id; it has been acknowledged."""
        response = self.client.post(PATH, json={"prompt": "x", "size": "256x256", "background": True} | body)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """As its owner sees it."""
        return dict(self.client.get(f"{JOBS}/{job_id}").json())

    def wait_for(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Poll until the job is there; the test's timeout is the limit."""
        while (job := self.job(job_id))["status"] not in statuses:
            time.sleep(0.02)
        return job

    def kill(self) -> None:
        """As nobody can prepare for."""
        self.process.kill()
        self.process.wait()


@contextmanager
def program(state_dir: Path, **settings: object) -> Iterator[Program]:
    """A server whose state is in `state_dir`, with other settings by name. Killed in the end, if it still runs."""
    own = {f"TETRISERVE_{name.upper()}": str(value) for name, value in settings.items() if name.islower()}
    other = {name: str(value) for name, value in settings.items() if name.isupper()}
    tests = Path(__file__).parents[1]
    environment = os.environ | {"TETRISERVE_STATE_DIR": str(state_dir), "PYTHONPATH": f"{tests.parent / 'src'}:{tests}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "server.program"], env=environment | own | other, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        said = ""
        while (match := re.search(r"at (http://\S+)", said)) is None:
            line = process.stderr.readline()
            assert line, f"the server did not start: {said}"
            said += line
        with httpx.Client(base_url=match[1], timeout=60) as client:
            yield Program(process, client)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()


async def _main() -> None:
    server = with_keys(resolve(Configuration(), {}).configuration.server)
    service, _ = make_service(failing_ids=json.loads(os.environ.get(FAILING, "[]")))
    with bind("127.0.0.1", 0) as listener:
        async with open_archive(server) as archive:
            console = Console(stderr=True, width=200)
            await serve_context(Context.of(service, server, archive), listener, console)


if __name__ == "__main__":
    asyncio.run(_main())
