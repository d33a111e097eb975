"""The server under test: the real program in a session of its own, killed and started again on one state directory."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from chaos.clock import set_shift
from chaos.history import History
from chaos.processes import living_of_session, workers_of
from chaos.program import CLOCK_FILE

START_LIMIT_S = 180.0
STOP_LIMIT_S = 60.0
ORPHAN_LIMIT_S = 60.0
"""A fork server that is killed while it imports torch notices that only afterwards, on a busy machine after long."""
POLL_S = 0.05
OPTIONS = {
    "dtype": "float32",
    "sizes": "128x128",
    "default-part-s": "0.01",  # so that steps are interrupted, short as they are
    "hang-floor-s": "2",
    "grace-s": "30",
    "max-jobs": "100000",
    "job-ttl-s": "259200",  # a server that starts asks the clock how old jobs are, and it is wrong by up to two days
}


@dataclass
class ChaosServer:
    """One server at a time. `up` is set while it answers. `orphans`: processes that outlived theirs by too long."""

    work_dir: Path
    state_dir: Path
    history: History
    devices: str
    up: asyncio.Event = field(default_factory=asyncio.Event)
    orphans: list[str] = field(default_factory=list)
    num_lives: int = 0
    _looking: "list[asyncio.Task[None]]" = field(default_factory=list)
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.clock_file, self.log_file = self.work_dir / "clock", self.work_dir / "server.log"
        set_shift(self.clock_file, 0.0)
        (self.work_dir / "tmp").mkdir(exist_ok=True)

    @property
    def pid(self) -> int:
        """The process that serves HTTP, and its session."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Those that live now, also while they start; empty while there is no server."""
        return workers_of(self.pid) if self._process is not None else []

    async def start(self, policy: str) -> None:
        """Until it answers; one that ends before, say because the disk is full, is started again."""
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            self._launch(policy)
            if await self._answers(deadline_s):
                break
        self.num_lives += 1
        self.up.set()

    async def kill_and_start(self, policy: str) -> None:
        """As nobody can prepare for."""
        killed_s = time.monotonic()
        self.up.clear()
        process = self._process
        assert process is not None
        process.kill()
        await asyncio.to_thread(process.wait)
        self._process = None
        self._looking.append(asyncio.create_task(self._look_for_orphans(process.pid)))
        await self.start(policy)
        self.history.server_down.append((killed_s, time.monotonic()))

    async def stop(self) -> int:
        """An end in order. Returns the exit status."""
        assert self._process is not None
        process = self._process
        process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(process.wait, STOP_LIMIT_S)
        await asyncio.gather(*self._looking, self._look_for_orphans(process.pid))
        return status

    async def _look_for_orphans(self, session: int) -> None:
        """After its server's death nothing of a session may live on."""
        deadline_s = time.monotonic() + ORPHAN_LIMIT_S
        while (left := living_of_session(session)) and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
        for pid in left:
            self.orphans.append(f"process {pid} of server {session}")
            os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process is not None:
            for pid in living_of_session(self._process.pid):
                os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def _launch(self, policy: str) -> None:
        options = [
            f"--{name}={value}" for name, value in (OPTIONS | {"devices": self.devices, "policy": policy}).items()
        ]
        command = [sys.executable, "-m", "chaos.program", "serve", f"--port={self.port}", *options]
        environment = os.environ | {
            CLOCK_FILE: str(self.clock_file),
            "TETRISERVE_STATE_DIR": str(self.state_dir),
            "XDG_CACHE_HOME": str(self.work_dir / "cache"),
            "TMPDIR": str(self.work_dir / "tmp"),
        }
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert self._process.stderr is not None
        # Through a pipe: a limit on the size of the server's files is not to end its log.
        threading.Thread(target=_copy, args=(self._process.stderr, self.log_file), daemon=True).start()

    async def _answers(self, deadline_s: float) -> bool:
        assert self._process is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            while self._process.poll() is None:
                assert time.monotonic() < deadline_s, f"the server does not start: {self.log_file}"
                try:
                    if (await client.get(f"{self.url}/health")).status_code == 200:
                        return True
                except httpx.TransportError:
                    pass
                await asyncio.sleep(POLL_S)
        await asyncio.sleep(POLL_S)
        return False


def _copy(source: IO[bytes], target: Path) -> None:
    with source, target.open("ab") as file:
        while data := source.read1():
            file.write(data)
            file.flush()
