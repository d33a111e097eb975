"""The clock of the running event loop: what a simulated executor needs to take its time in real seconds."""

import asyncio
from collections.abc import Callable


class LoopClock:
    """Asks for the loop when it is asked: it may be made before one runs."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, at_s: float, rank: int, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_at(at_s, call)
