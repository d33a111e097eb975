"""Who holds what, and the one global order in which ranks execute. Pure: no processes, no tensors.

Why nothing can deadlock: chunks and hand-overs get places in one order, and every rank executes its own in that
order. The first of all that isn't finished therefore has all its ranks at hand, and finishes.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.request import Request

Work = tuple[Chunk, tuple[Request, ...]]

RESTORING_S, ENCODING_S = 0.005, 0.05
"""What beginning with kept latents takes, without and with an encoding: a source is waited for as long."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Latents go from one rank to another, and with them the conditioning if the other has never had it."""

    request: Request
    source: int
    target: int
    with_conditioning: bool


@dataclass(frozen=True, slots=True)
class Revival:
    """A rank begins with the latents that were kept: no rank holds them, or those that do are busy with others' work.

    `anew`: it has to encode the prompt, too.
    """

    request: Request
    target: int
    anew: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk in its place in the order; `sources` are the ranks that hand something over for it."""

    chunk: Chunk
    requests: tuple[Request, ...]
    sources: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class AtHand:
    """What is known when a batch comes: how long each rank still has to work, whose newest latents were kept."""

    busy_s: Callable[[int], float] = lambda rank: 0.0
    is_kept: Callable[[str], bool] = lambda request_id: False


NOTHING = AtHand()


@dataclass(frozen=True, slots=True)
class _Holders:
    """Ranks that hold a request's newest latents; ranks that hold its conditioning, which never changes."""

    latents: tuple[int, ...] = ()
    conditioning: frozenset[int] = frozenset()


class Placement:
    """Where the tensors of every request will be once everything submitted so far has run."""

    def __init__(self) -> None:
        self._holders: dict[str, _Holders] = {}

    def order(self, batch: Sequence[Work], at_hand: AtHand = NOTHING) -> list[HandOver | Revival | Placed]:
        """The global order of a batch and the hand-overs that it needs.

        Hand-overs of requests that no earlier chunk of the batch moves come first of all: a source then gives
        them away before it gets busy with somebody else's chunk. One that is busy already is not waited for.
        """
        early: list[HandOver | Revival | Placed] = []
        ordered: list[HandOver | Revival | Placed] = []
        seen: set[str] = set()
        for chunk, requests in batch:
            sources: set[int] = set()
            for request in requests:
                is_first = request.request_id not in seen
                moves = self._place(chunk, request, at_hand if is_first else NOTHING)
                (early if is_first else ordered).extend(moves)
                seen.add(request.request_id)
                sources.update(move.source for move in moves if isinstance(move, HandOver))
            ordered.append(Placed(chunk, requests, frozenset(sources)))
        return early + ordered

    def knows(self, request_ids: Iterable[str]) -> bool:
        """Whether all these requests have been encoded and not yet forgotten."""
        return all(request_id in self._holders for request_id in request_ids)

    def forget(self, request_id: str) -> None:
        """A request has ended."""
        self._holders.pop(request_id, None)

    def held_by(self, ranks: Collection[int]) -> set[str]:
        """Requests of which one of these ranks holds latents."""
        return {id_ for id_, holders in self._holders.items() if not set(ranks).isdisjoint(holders.latents)}

    def lose(self, ranks: Collection[int]) -> None:
        """Nothing is held by these ranks any more."""
        for request_id, holders in self._holders.items():
            latents = tuple(rank for rank in holders.latents if rank not in ranks)
            self._holders[request_id] = _Holders(latents, holders.conditioning.difference(ranks))

    def scatter(self, request_id: str) -> None:
        """A chunk of the request was lost: what ranks hold of it is not to be relied on."""
        if request_id in self._holders:
            self._holders[request_id] = _Holders()

    def _place(self, chunk: Chunk, request: Request, at_hand: AtHand) -> Sequence[HandOver | Revival]:
        """What must move before `chunk`; afterwards its devices are the holders."""
        request_id, first = request.request_id, chunk.devices[0]
        if chunk.stage is Stage.ENCODE:
            self._holders[request_id] = _Holders(chunk.devices, frozenset(chunk.devices))
            return []
        holders, revival = self._holders[request_id], list[HandOver | Revival]()
        anew = first not in holders.conditioning
        patience_s = ENCODING_S if anew else RESTORING_S
        sources = [rank for rank in holders.latents if rank in chunk.devices or at_hand.busy_s(rank) <= patience_s]
        if not holders.latents or (not sources and at_hand.is_kept(request_id)):
            revival = [Revival(request, first, anew)]
            holders, sources = _Holders((first,), holders.conditioning | {first}), [first]
        sources = sources or list(holders.latents)
        missing = [rank for rank in chunk.devices if rank not in holders.latents]
        handovers = [
            HandOver(request, sources[i % len(sources)], rank, rank not in holders.conditioning)
            for i, rank in enumerate(missing)
        ]
        conditioning = holders.conditioning | frozenset(chunk.devices)
        latents = chunk.devices if chunk.stage is Stage.DENOISE else (*holders.latents, *missing)
        self._holders[request_id] = _Holders(latents, conditioning)
        return [*revival, *handovers]
