"""Image equality: what is served under load, at degrees that change, against diffusers alone.

For scale, in reduced precision also what diffusers itself does to an image when it is made in a batch, or with
attention spelled out.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tetriserve.bench.client import send_all, warm_up
from tetriserve.bench.reply import Reply
from tetriserve.bench.target import Target, meet
from tetriserve.core.errors import EngineError
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.images import difference
from tetriserve.evaluation.program import Running
from tetriserve.evaluation.servers import Wanted, serving
from tetriserve.evaluation.study import Cell, Equality, Study
from tetriserve.evaluation.task import Group, Site
from tetriserve.evaluation.workload import from_zero, make_trace
from tetriserve.workload.trace import TraceEntry

PEER = "diffusers-sp1"
EXACT = "float32"
"""Here diffusers is the truth, and what batches do to it needs no telling."""
PEER_FACTOR = 4.0
"""How much longer than here an image may take in diffusers, for the forecast of a part's duration only."""


@dataclass(frozen=True, slots=True)
class EqualityTask:
    """Some of the images in one dtype. Implements Task."""

    equality: Equality
    dtype: str
    part: int

    @property
    def id(self) -> str:
        """Names its file."""
        return f"equality/{self.dtype}/part{self.part}"

    @property
    def variants(self) -> tuple[str, ...]:
        """What diffusers is asked for."""
        return ("plain",) if self.dtype == EXACT else ("plain", "batch", "attention")

    def seconds(self, site: Site, cost: CostModel) -> float:
        """Load, the peer's start, and its images."""
        trace = self._trace(site, cost)
        work_s = sum(cost.solo_s(entry.size, entry.num_inference_steps, 1) for entry in trace) / site.num_devices
        return trace[-1].arrival_s + site.study.start_s + PEER_FACTOR * len(self.variants) * work_s

    async def warm_up(self, site: Site, cost: CostModel, target: Target) -> None:
        """Nothing here depends on time."""
        await warm_up(target, self._trace(site, cost)[:1], 1, lambda reply: None)

    async def run(self, site: Site, cost: CostModel, target: Target, server: Running) -> dict[str, Any]:
        """Every image from both. Raises EngineError if one is missing."""
        trace = self._trace(site, cost)
        served = await self._images(target, trace, {})
        wanted = Wanted(self.equality.model, PEER, self.dtype)
        with serving(site.study, wanted, site.results, site.budget.left_s) as peer:
            peer_target, _ = await meet(Target(peer.url))
            at_once = [replace(entry, arrival_s=0.0) for entry in trace]
            made = {
                variant: await self._images(peer_target, at_once, {"variant": variant}) for variant in self.variants
            }
        rows = [
            await asyncio.to_thread(_row, one, {variant: replies[index] for variant, replies in made.items()})
            for index, one in enumerate(served)
        ]
        return {"dtype": self.dtype, "num_steps": self.equality.num_steps, "images": rows}

    async def _images(self, target: Target, trace: Sequence[TraceEntry], extra: dict[str, Any]) -> list[Reply]:
        replies = await send_all(replace(target, extra=extra, keep_images=True), trace)
        for reply in replies:
            if not reply.ok:
                raise EngineError(
                    f"{extra or 'served'}: {reply.entry.request_id} failed with {reply.code}: {reply.error}"
                )
        return replies

    def _trace(self, site: Site, cost: CostModel) -> tuple[TraceEntry, ...]:
        """This part of all images. The same in every dtype, but for arrivals and deadlines."""
        wanted = self.equality
        study = replace(site.study, num_requests=wanted.num_images, num_steps=wanted.num_steps)
        cell = Cell(wanted.model, wanted.policy, "uniform", wanted.load, study.scales[0])
        trace = make_trace(study, cell, cost, site.num_devices)
        return from_zero(trace[self.part * wanted.part : (self.part + 1) * wanted.part])


def equality_groups(study: Study) -> list[Group]:
    """One server for each dtype."""
    wanted = study.equality
    if wanted is None:
        return []
    parts = range(-(-wanted.num_images // wanted.part))
    sized = replace(study, sizes=wanted.sizes)
    return [
        Group(Wanted(wanted.model, wanted.policy, dtype), sized, [EqualityTask(wanted, dtype, part) for part in parts])
        for dtype in wanted.dtypes
    ]


def _row(served: Reply, made: dict[str, Reply]) -> dict[str, Any]:
    """Mean squared and greatest difference to diffusers, in levels of 255, of what is served and of the variants."""
    plain = made["plain"].png()
    others = {"served": served.png()} | {name: one.png() for name, one in made.items() if name != "plain"}
    return {
        "request_id": served.entry.request_id,
        "size": str(served.entry.size),
        "prompt": served.entry.prompt,
        "degrees": list(served.report["degrees"]),
        **{name: difference(png, plain) for name, png in others.items()},
    }
