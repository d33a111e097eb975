"""Which ranks work, and which process groups must be made anew. Pure: no processes, no clock.

Groups are made in a Regroup, which has a number, the epoch. All its ranks come to it in the one global order of
commands, tell so, and make the groups when all are there; if one dies before, it is called off for the others.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tetriserve.core.blocks import all_blocks

Block = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make: `world`, the group for hand-overs (empty: it stays), and blocks. `ranks` take part."""

    epoch: int
    world: Block
    blocks: tuple[Block, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """All that take part."""
        return tuple(sorted({*self.world, *(rank for block in self.blocks for rank in block)}))


@dataclass(slots=True)
class Membership:
    """Ranks are `live` when they have joined, `loaded` when they are about to. One plan is under way at a time."""

    num_ranks: int
    live: set[int] = field(default_factory=set)
    loaded: set[int] = field(default_factory=set)
    plan: Plan | None = None
    _epoch: int = 0
    _world: Block = ()
    _whole: set[Block] = field(default_factory=set)
    _absent: set[int] = field(default_factory=set)
    _unfinished: set[int] = field(default_factory=set)

    @property
    def is_gathering(self) -> bool:
        """Whether a plan waits for ranks to come to it."""
        return bool(self._absent)

    @property
    def late(self) -> set[int]:
        """Ranks that the plan under way waits for: to come, or, when all have come, to be done."""
        return self._absent or self._unfinished

    def load(self, rank: int) -> None:
        """A worker has its model."""
        self.loaded.add(rank)

    def lose(self, ranks: Collection[int]) -> Plan | None:
        """Workers are gone. Returns the plan that is thereby called off."""
        gone = set(ranks)
        self.live -= gone
        self.loaded -= gone
        self._whole = {block for block in self._whole if gone.isdisjoint(block)}
        if not gone.isdisjoint(self._world):
            self._world = ()
        if self.plan is None or gone.isdisjoint(self.plan.ranks):
            return None
        return self.call_off()

    def spoil(self, block: Block) -> None:
        """A block's exchange was broken off: its group is of no use any more, nor are those above and below."""
        self._whole = {other for other in self._whole if set(other).isdisjoint(block)}

    def call_off(self) -> Plan | None:
        """Forget the plan under way. Returns it."""
        plan, self.plan = self.plan, None
        self._absent, self._unfinished = set(), set()
        return plan

    def next(self) -> Plan | None:
        """The next plan, now under way; None if one is already, or none is needed."""
        if self.plan is not None:
            return None
        ranks = self.live | self.loaded
        blocks = tuple(block for block in self._blocks(ranks) if block not in self._whole)
        world = tuple(sorted(ranks))
        if world == self._world:
            world = ()
        if not world and not blocks:
            return None
        self._epoch += 1
        self.plan = Plan(self._epoch, world, blocks)
        self._absent, self._unfinished = set(self.plan.ranks), set(self.plan.ranks)
        return self.plan

    def arrive(self, rank: int, epoch: int) -> bool:
        """A rank has come to a plan. Whether all are there now."""
        if self.plan is None or self.plan.epoch != epoch:
            return False
        self._absent.discard(rank)
        return not self._absent

    def finish(self, rank: int, epoch: int) -> set[int] | None:
        """A rank has made its groups. When all have: the ranks that are live thereby for the first time."""
        if self.plan is None or self.plan.epoch != epoch:
            return None
        self._unfinished.discard(rank)
        if self._unfinished:
            return None
        plan = self.call_off()
        assert plan is not None
        self._whole.update(plan.blocks)
        self._world = plan.world or self._world
        newcomers = set(plan.world) - self.live
        self.live |= newcomers
        self.loaded -= newcomers
        return newcomers

    def _blocks(self, ranks: set[int]) -> Iterable[Block]:
        return (block for block in all_blocks(self.num_ranks) if len(block) > 1 and ranks.issuperset(block))
