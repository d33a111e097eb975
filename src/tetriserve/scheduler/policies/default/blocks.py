"""Which devices, from when: blocks for the jobs that are served, and what may run on them until those can start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tetriserve.core.blocks import aligned_blocks
from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.view import TOLERANCE_S, RequestView, View

Block = tuple[int, ...]


@dataclass(slots=True)
class Board:
    """The devices of a cell while a plan is made: `idle` ones are free, `reserved_s` says until when only.

    `taken_s` is when those are free again that were given away in this plan.

    Who is ready by `ready_by_s` can start.
    """

    view: View
    devices: range
    idle: set[int]
    reserved_s: dict[int, float] = field(default_factory=dict)
    taken_s: dict[int, float] = field(default_factory=dict)
    ready_by_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.ready_by_s = self.view.now_s + self.view.ahead_s + TOLERANCE_S

    def blocks(self, degree: int, among: set[int]) -> list[Block]:
        """Blocks of the cell that consist of some devices."""
        first, last = self.devices.start // degree, self.devices.stop // degree
        return [block for block in aligned_blocks(self.view.num_devices, degree)[first:last] if among.issuperset(block)]

    def blocks_for(self, one: RequestView, degree: int, among: set[int]) -> list[Block]:
        """Blocks of a degree on which the request can go on; within a step there is only the one where it is."""
        if not one.is_within_step:
            return self.blocks(degree, among)
        return [one.last_devices] if among.issuperset(one.last_devices) else []

    @property
    def widest(self) -> int:
        """The largest degree of which lost devices leave a block."""
        free_s, degree = self.view.free_s, len(self.devices)
        there = {device for device in self.devices if free_s[device] < float("inf")}
        while degree > 1 and len(there) < len(self.devices) and not self.blocks(degree, there):
            degree //= 2
        return degree

    def start_s(self, job: Job, block: Block) -> float:
        """When the job can start on the block."""
        ready_s = max([one.ready_s for one in job.members])
        return max(ready_s, self.start_of(block))

    def reserve(self, block: Block, until_s: float) -> None:
        """Only what ends by then may run on the block."""
        self.reserved_s.update(dict.fromkeys(block, until_s))

    def take(self, block: Block, seconds: float) -> None:
        """Give a block away for so long, by the profile."""
        end_s = self.start_of(block) + seconds * self.view.slowness
        self.taken_s.update(dict.fromkeys(block, end_s))
        self.idle.difference_update(block)

    def keep(self, block: Block) -> None:
        """What is idle of a block is kept until the rest of it is free, if that is no less than half of it.

        Not what is kept for somebody already.
        """
        idle = self.idle.intersection(block)
        if 2 * len(idle) <= len(block) and self.reserved_s.keys().isdisjoint(block):
            free_s = self.view.free_s
            self.reserve(block, max([self.taken_s.get(device, free_s[device]) for device in block]))

    def room_s(self, block: Block) -> float:
        """Seconds until somebody else needs the block."""
        return min([self.reserved_s.get(device, float("inf")) for device in block]) - self.start_of(block)

    def start_of(self, block: Block) -> float:
        """When an idle block is free."""
        free_s = self.view.free_s
        return free_s[block[0]] if len(block) == 1 else max([free_s[device] for device in block])


def place(board: Board, jobs: Sequence[Job], degrees: Mapping[str, int], room: set[int]) -> dict[str, Block]:
    """A block in `room` for each job that has a degree; a smaller one if busy devices left the cell in pieces.

    Larger degrees come first, then who is running: it keeps its place, and has to within a step.
    """
    placed: dict[str, Block] = {}
    served = [job for job in jobs if job.key in degrees]
    for job in sorted(served, key=lambda job: (-degrees[job.key], not job.in_flight, not job.last_devices)):
        blocks: list[Block] = []
        degree = degrees[job.key]
        while degree and not blocks:
            blocks = board.blocks_for(job.members[0], degree, room) if degree in job.curve.step_s else []
            degree //= 2
        if blocks:
            placed[job.key] = block = _fittest(board, job, blocks)
            room = room.difference(block)
    return placed


def _fittest(board: Board, job: Job, blocks: Sequence[Block]) -> Block:
    """A running job stays; a waiting one starts early. Then the place where it was."""
    last = frozenset(job.last_devices)

    def fitness(block: Block) -> tuple[float, float, int]:
        shared = len(last.intersection(block))
        return (shared if job.in_flight else 0, -board.start_of(block), shared)

    return max(blocks, key=fitness) if len(blocks) > 1 else blocks[0]
