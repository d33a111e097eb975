"""What devices did during a cell, from `/v1/board`, which remembers some minutes: looked at while the load runs."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import httpx

from tetriserve.bench.reply import Reply

BOARD_PATH = "/v1/board"
LOOK_EVERY_S = 60.0
LOOK_BACK_S = 200.0
"""More than twice the time between looks, less than what is remembered: nothing is missed, and little read twice."""
PLANNED = "planned"


class BoardWatch:
    """Collects chunks and requests that began after `start`. Times are made relative to it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._start_s = 0.0
        self._chunks: dict[int, dict[str, Any]] = {}
        self._requests: dict[str, dict[str, Any]] = {}

    async def start(self) -> None:
        """From now on. Call it just before the load begins."""
        self._start_s = float((await self._ask(1.0))["now_s"])

    async def watch(self) -> None:
        """Look from time to time, until cancelled. A look that fails is made up for by the next."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with contextlib.suppress(httpx.HTTPError):
                await self.look()

    async def look(self) -> None:
        """Take in what ended lately."""
        board = await self._ask(LOOK_BACK_S)
        for chunk in board["chunks"]:
            if chunk["state"] != PLANNED and chunk["begin_s"] >= self._start_s:
                self._chunks[chunk["chunk_id"]] = chunk
        for request in board["requests"]:
            if request["arrival_s"] >= self._start_s:
                self._requests[request["request_id"]] = request

    def engine_latency_s(self, request_id: str | None) -> float | None:
        """Arrival to decoded image by the server's clock: no file is made yet, and nothing sent."""
        request = self._requests.get(request_id or "")
        if request is None or request["end_s"] is None:
            return None
        return round(float(request["end_s"]) - float(request["arrival_s"]), 4)

    def chunks(self, replies: Sequence[Reply]) -> list[dict[str, Any]]:
        """In order of their end, as `tetriserve plot` reads them, with ids and times of the trace.

        Chunks of requests that got no answer keep the server's ids.
        """
        names = {id_: reply.entry.request_id for reply in replies if (id_ := server_id(reply)) is not None}
        zero_s = self._zero_s(replies)
        ended = sorted(self._chunks.values(), key=lambda chunk: (chunk["end_s"], chunk["chunk_id"]))
        return [_row(chunk, names, zero_s) for chunk in ended]

    def _zero_s(self, replies: Sequence[Reply]) -> float:
        """The server's time when the trace began: no request can have come before it was sent."""
        arrivals = [
            self._requests[id_]["arrival_s"] - reply.entry.arrival_s - reply.send_lag_s
            for reply in replies
            if (id_ := server_id(reply)) in self._requests
        ]
        return min(arrivals, default=self._start_s)

    async def _ask(self, seconds: float) -> dict[str, Any]:
        response = await self._client.get(BOARD_PATH, params={"seconds": seconds}, timeout=30)
        response.raise_for_status()
        board: dict[str, Any] = response.json()
        return board


def server_id(reply: Reply) -> str | None:
    """What the server calls a request that it answered."""
    return reply.report.get("request_id")


def _row(chunk: dict[str, Any], names: dict[str, str], zero_s: float) -> dict[str, Any]:
    return {
        "stage": chunk["stage"],
        "request_ids": [names.get(request_id, request_id) for request_id in chunk["request_ids"]],
        "devices": chunk["devices"],
        "num_steps": chunk["num_steps"],
        "started_s": round(chunk["begin_s"] - zero_s, 4),
        "finished_s": round(chunk["end_s"] - zero_s, 4),
        "state": chunk["state"],
    }
