"""One process of a run: one GPU, one contender, all its cells."""

import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

from tetriserve.core.blocks import all_blocks
from tetriserve.engine.groups import Groups
from tetriserve.engine.messages import Regroup
from tetriserve.models.attention import HeadsShape, exchange_bytes
from tetriserve.models.gpu_clock import samples_ms
from tetriserve.models.loading import quiet_libraries
from tetriserve.models.ulysses import SequenceGroup
from tetriserve.stepbench.cells import Measured, StepCell
from tetriserve.stepbench.contenders import NUM_TEXT, Contender, make
from tetriserve.stepbench.floor import floor_ms, measure_ceilings

FLUX_HEADS = HeadsShape(24, 128, torch.bfloat16)
LEAST_WARM_UP_STEPS = 3
WARM_UP_TOKENS = 2**15
"""About a second's work before a cell's first sample, equally many steps on every rank: clocks rise from idle first."""


def measure(
    connection: Connection, name: str, rank: int, cells: Sequence[StepCell], num_steps: int, store: str
) -> None:
    """Measure all cells, which have one degree, and send back a list of `Measured`; ranks above 0 send nothing."""
    degree = cells[0].degree
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    quiet_libraries()
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(degree))
    with torch.inference_mode():
        group = _meet(device, rank, cells, store)
        contender = make(name, device, group)
        for cell in cells:
            result = _measure_cell(name, contender, cell, num_steps)
            if rank == 0:
                connection.send(result)
    connection.close()
    os._exit(0)  # process groups take their time to end


def ceilings(connection: Connection, cells: Sequence[StepCell]) -> None:
    """Send back the ceilings of a GPU and the floor of every cell, in milliseconds."""
    from diffusers import FluxTransformer2DModel  # noqa: PLC0415

    device = torch.device("cuda", 0)
    found = measure_ceilings(device)
    with torch.device("meta"):
        transformer: Any = FluxTransformer2DModel(guidance_embeds=True)
    floors = [floor_ms(cell, transformer.config, NUM_TEXT, found) for cell in cells]
    connection.send((torch.cuda.get_device_name(device), str(torch.__version__), found, floors))
    connection.close()


def _meet(device: torch.device, rank: int, cells: Sequence[StepCell], store: str) -> SequenceGroup:
    """The group of all ranks, as the engine makes it."""
    degree = cells[0].degree
    # The others' methods want a default group; ours doesn't.
    default = dist.FileStore(store, degree)  # type: ignore[attr-defined]
    dist.init_process_group("nccl", store=default, rank=rank, world_size=degree)

    def room(group: SequenceGroup) -> int:
        return max(exchange_bytes(c.size.num_tokens + NUM_TEXT, c.batch, group.degree, FLUX_HEADS) for c in cells)

    groups = Groups(rank, device, room)
    blocks = tuple(block for block in all_blocks(degree) if len(block) > 1)
    groups.make(Regroup(1, f"{store}-blocks", (), blocks))
    return groups.blocks[tuple(range(degree))]


def _measure_cell(name: str, contender: Contender, cell: StepCell, num_steps: int) -> Measured:
    try:
        step = contender.step(cell)
        step()
        dist.barrier()
        warm_up_steps = max(LEAST_WARM_UP_STEPS, WARM_UP_TOKENS // (cell.batch * (cell.size.num_tokens + NUM_TEXT)))
        return Measured(name, cell, tuple(samples_ms(step, num_steps, warm_up_steps)))
    except Exception as error:  # noqa: BLE001  (a peer that can't do a cell is a result)
        torch.cuda.synchronize()
        return Measured(name, cell, failure=f"{type(error).__name__}: {error}"[:300])
