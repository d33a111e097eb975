"""The server that is measured: where it is, what it is asked with, and what it says about itself."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tetriserve.bench.reply import read_object
from tetriserve.core.errors import EngineError

HEALTH_PATH = "/health"
MODELS_PATH = "/v1/models"
ASK_TIMEOUT_S = 10.0
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Target:
    """`extra` is added to every body. No more than `max_connections` are open: who finds none waits, and that counts.

    `timeout_s` counts from the intended start. `send_slo`: tell the server the deadline. `keep_images`: keep them
    in the replies, which takes memory.
    """

    base_url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict)
    max_connections: int = 1024
    timeout_s: float = 3600.0
    send_slo: bool = True
    keep_images: bool = False

    def client(self) -> httpx.AsyncClient:
        """A client for it, to be closed by the caller."""
        limits = httpx.Limits(max_connections=self.max_connections, max_keepalive_connections=self.max_connections)
        headers = {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}
        # Who waits for a connection is ended by the request's own clock, not by one of the pool.
        timeout = httpx.Timeout(self.timeout_s, pool=None)
        return httpx.AsyncClient(
            base_url=self.base_url, headers=headers, timeout=timeout, limits=limits, trust_env=False
        )


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What is known of a server. Ours tells its policy and devices; others are None there."""

    model: str | None = None
    policy: str | None = None
    num_devices: int | None = None


async def meet(target: Target, wait_s: float = 0.0) -> tuple[Target, ServerInfo]:
    """Wait until the server is healthy, then ask who it is; a target without a model gets the first one it serves.

    Raises EngineError if it does not answer within `wait_s`.
    """
    async with target.client() as client:
        health = await _wait_until_healthy(client, target, time.monotonic() + wait_s)
        models = _mapping(await _get(client, MODELS_PATH)).get("data")
    listed = [_mapping(one).get("id") for one in models] if isinstance(models, list) else []
    model = target.model or next((one for one in listed if isinstance(one, str)), None)
    policy, num_devices = health.get("policy"), health.get("num_devices")
    info = ServerInfo(
        model, policy if isinstance(policy, str) else None, num_devices if isinstance(num_devices, int) else None
    )
    return replace(target, model=model), info


async def _wait_until_healthy(client: httpx.AsyncClient, target: Target, until_s: float) -> Mapping[str, Any]:
    """What /health says. A server without that route (any 4xx) is taken as healthy."""
    while True:
        response = await _get(client, HEALTH_PATH)
        if response is not None and response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            return _mapping(response)
        if time.monotonic() >= until_s:
            said = "no answer" if response is None else f"status {response.status_code} of {HEALTH_PATH}"
            raise EngineError(f"{target.base_url}: {said}; is the server up? (--wait-s waits for it)")
        await asyncio.sleep(POLL_S)


async def _get(client: httpx.AsyncClient, path: str) -> httpx.Response | None:
    try:
        return await client.get(path, timeout=ASK_TIMEOUT_S)
    except httpx.HTTPError:
        return None


def _mapping(raw: Any) -> Mapping[str, Any]:
    """A JSON object, or an answer that holds one; empty if it is anything else."""
    if isinstance(raw, httpx.Response):
        return read_object(raw.content)
    return raw if isinstance(raw, dict) else {}
