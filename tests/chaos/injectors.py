"""Does to a server what a fault says: from outside, by signals and limits, as an operating system does."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from chaos.clients import JOBS, Client
from chaos.clock import set_shift
from chaos.history import Attempt, Injection
from chaos.plan import Fault, Kind
from chaos.processes import address_space_bytes
from chaos.server import ChaosServer

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
VICTIM_LIMIT_S = 5.0
PATIENCE_S = 20.0
SPARE_BYTES = 1 << 20
"""What a worker may still take while it has a memory fault."""
BLOCK_BYTES = 1 << 20


class Injector:
    """Injects faults one after another, and those that last beside each other."""

    def __init__(self, server: ChaosServer, client: Client, has_small_disk: bool) -> None:
        self._server = server
        self._client = client
        self._has_small_disk = has_small_disk
        self._last_s = time.monotonic()
        self._lasting: set[asyncio.Task[None]] = set()
        self._acts: Mapping[Kind, Callable[[Fault], Awaitable[str]]] = {
            "kill_worker": self._kill_worker,
            "kill_workers": self._kill_workers,
            "hang": self._hang,
            "memory": self._memory,
            "disconnect": self._disconnect,
            "delete_job": self._delete_job,
            "clock_jump": self._clock_jump,
            "full_disk": self._full_disk,
            "kill_server": self._kill_server,
        }

    async def inject(self, fault: Fault) -> None:
        """Returns when the next may follow; that is before the end of one that lasts."""
        await asyncio.sleep(fault.gap_s)
        if fault.waits:
            await self._until_alive()
        begin_s = self._last_s = time.monotonic()
        if fault.kind in {"memory", "full_disk"}:
            lasting = asyncio.create_task(self._do(fault, begin_s))
            self._lasting.add(lasting)
            lasting.add_done_callback(self._lasting.discard)
        else:
            await self._do(fault, begin_s)

    async def settle(self) -> None:
        """Until all faults that last are over."""
        await asyncio.gather(*self._lasting)

    async def _until_alive(self) -> None:
        """Until something got done since the last fault, though not for ever."""
        alive_s, end_s = self._server.history.alive_s, time.monotonic() + PATIENCE_S
        while not (alive_s and alive_s[-1] > self._last_s) and time.monotonic() < end_s:
            await asyncio.sleep(0.01)

    async def _do(self, fault: Fault, begin_s: float) -> None:
        hit = await self._acts[fault.kind](fault)
        self._server.history.injections.append(Injection(fault, begin_s, time.monotonic(), hit))

    async def _victim(self, pick: float) -> int | None:
        """A worker; if there is none at the moment, the next one."""
        end_s = time.monotonic() + VICTIM_LIMIT_S
        while not (workers := self._server.workers()):
            if time.monotonic() > end_s:
                return None
            await asyncio.sleep(0.01)
        return workers[int(pick * len(workers))]

    async def _kill_worker(self, fault: Fault) -> str:
        return _signal(await self._victim(fault.pick), signal.SIGKILL)

    async def _kill_workers(self, fault: Fault) -> str:
        await self._victim(fault.pick)
        return ", ".join(_signal(pid, signal.SIGKILL) for pid in self._server.workers())

    async def _hang(self, fault: Fault) -> str:
        return _signal(await self._victim(fault.pick), signal.SIGSTOP)

    async def _memory(self, fault: Fault) -> str:
        pid = await self._victim(fault.pick)
        if pid is None:
            return ""
        limit = address_space_bytes(pid) + SPARE_BYTES
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            await asyncio.sleep(fault.amount)
            resource.prlimit(pid, resource.RLIMIT_AS, UNLIMITED)
        return f"worker {pid} for {fault.amount:g} s"

    async def _disconnect(self, fault: Fault) -> str:
        attempt = _chosen(self._server.history.live("foreground", "stream"), fault.pick)
        if attempt is None:
            return ""
        attempt.drop()
        return attempt.kind

    async def _delete_job(self, fault: Fault) -> str:
        jobs = [one for one in self._server.history.live("job") if one.acknowledged and not one.cancel_asked]
        attempt = _chosen(jobs, fault.pick)
        if attempt is None or not self._server.up.is_set():
            return ""
        attempt.cancel_asked = True
        response = await self._client.http.delete(f"{JOBS}/{attempt.job_id}")
        return f"{attempt.job_id}: {response.status_code}"

    async def _clock_jump(self, fault: Fault) -> str:
        set_shift(self._server.clock_file, fault.amount)
        return f"{fault.amount:+g} s"

    async def _full_disk(self, fault: Fault) -> str:
        """Either no file of the server may grow, or the file system has no room."""
        if not self._has_small_disk or fault.pick < 0.5:
            with suppress(ProcessLookupError):
                pid = self._server.pid
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
                await asyncio.sleep(fault.amount)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)
            return f"no growth for {fault.amount:g} s"
        filler = self._server.state_dir / f"filler-{fault.number}"
        await asyncio.to_thread(_fill, filler)
        await asyncio.sleep(fault.amount)
        filler.unlink()
        return f"no room for {fault.amount:g} s"

    async def _kill_server(self, fault: Fault) -> str:
        pid = self._server.pid
        await self._server.kill_and_start(fault.policy)
        return f"server {pid}, the next has {fault.policy}"


def _chosen(attempts: list[Attempt], pick: float) -> Attempt | None:
    return attempts[int(pick * len(attempts))] if attempts else None


def _signal(pid: int | None, number: signal.Signals) -> str:
    if pid is None:
        return ""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return ""
    return f"worker {pid}"


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(BLOCK_BYTES))
