"""Runs steps: binds a batch of requests to a program and takes its steps, from a CUDA graph where there is one."""

import math
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tetriserve.core.size import Size
from tetriserve.models.adapter import ModelAdapter, RequestState
from tetriserve.models.graphs import StepGraphs
from tetriserve.models.program import Hidden, Prepared, Shape, StepInputs, StepProgram
from tetriserve.models.ulysses import SequenceGroup

PREPARED_BYTES = 2**30
"""Room for modulations of requests between their chunks: 59 MB each for FLUX.1 with 28 steps, 3.5 ms to make again."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What programs and graphs are made for."""

    size: Size
    shape: Shape
    group: SequenceGroup


class Denoiser:
    """A model on one device, and what has been made ready for its steps."""

    def __init__(self, model: ModelAdapter) -> None:
        self.model = model
        self.graphs = StepGraphs()
        self._programs: dict[Cell, StepProgram] = {}
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._interrupted: dict[str, Hidden | None] = {}

    def run(
        self,
        states: Sequence[RequestState],
        first_steps: Sequence[float],
        num_steps: float,
        group: SequenceGroup,
        after_step: Callable[[float], None] = lambda num_steps: None,
    ) -> None:
        """Take `num_steps` steps with every state; all ranks of the group call this together.

        `after_step` is told how many have been taken, or on a GPU launched, after each that ends.

        Latents are whole on every rank before and after. Euler steps are elementwise, so in between they stay
        sharded. What one state takes may begin and end within a step: each rank keeps the hidden states of its
        tokens, and latents remain those of the step's begin.
        """
        cell = self._cell(states, group)
        program = self._program(cell)
        whole_step = self.graphs.find(cell) or program.step
        prepared = [self._prepare(state, cell.shape.passes) for state in states]
        inputs, taken, ended = self._inputs(program, states, prepared), 0.0, False
        while taken < num_steps:
            steps = [math.floor(first + taken) for first in first_steps]
            begin = (first_steps[0] + taken) % 1
            end = min(begin + num_steps - taken, 1.0)
            inputs = inputs._replace(
                table=program.table(prepared, steps),
                sigma_steps=torch.stack([s.sigmas[i + 1] - s.sigmas[i] for s, i in zip(states, steps, strict=True)]),
            )
            stepped: Tensor | None
            if end - begin == 1:
                stepped = whole_step(inputs)
            else:
                stepped = self._part(program, inputs, begin, end, states[0].request.request_id)
            taken += end - begin
            if stepped is not None:
                inputs, ended = inputs._replace(latents=stepped), True
                after_step(taken)
        if ended:
            for state, whole in zip(states, program.layout.image.gather(inputs.latents).unbind(1), strict=True):
                state.latents = whole[None].contiguous()

    def _part(
        self, program: StepProgram, inputs: StepInputs, begin: float, end: float, request_id: str
    ) -> Tensor | None:
        """A step from one share of its blocks to another, not as a graph: the latents, or None if it does not end."""
        hidden = self._interrupted.pop(request_id) if begin else None
        hidden = program.enter(inputs) if hidden is None else hidden
        hidden = program.through(hidden, inputs, begin, end)
        if end == 1:
            return program.leave(hidden, inputs)
        self._interrupted[request_id] = hidden
        return None

    def capture(self, states: Sequence[RequestState], group: SequenceGroup) -> None:
        """Record the step of such a batch as a CUDA graph; all ranks of the group call this together."""
        cell = self._cell(states, group)
        program = self._program(cell)
        prepared = [self._prepare(state, cell.shape.passes) for state in states]
        self.graphs.capture(cell, program, self._inputs(program, states, prepared))

    def drop(self, groups: Container[SequenceGroup]) -> None:
        """Groups are gone: what was made ready for them is of no use."""
        self._programs = {cell: program for cell, program in self._programs.items() if cell.group not in groups}
        self.graphs.drop(lambda key: isinstance(key, Cell) and key.group in groups)

    def begin_anew(self, request_id: str) -> None:
        """A request has failed here: what it still owes to others within a step begins with what there is."""
        self._interrupted[request_id] = None

    def discard(self, request_id: str) -> None:
        """An interrupted step is taken again."""
        self._interrupted.pop(request_id, None)

    def forget(self, request_id: str) -> None:
        """A request has ended."""
        self._prepared.pop(request_id, None)
        self.discard(request_id)

    def _cell(self, states: Sequence[RequestState], group: SequenceGroup) -> Cell:
        shapes = [self.model.shape(state, len(states)) for state in states]
        return Cell(states[0].request.size, max(shapes, key=lambda shape: shape.passes), group)

    def _program(self, cell: Cell) -> StepProgram:
        if cell not in self._programs:
            self._programs[cell] = self.model.program(cell.size, cell.shape, cell.group)
        return self._programs[cell]

    def _prepare(self, state: RequestState, passes: int) -> Prepared:
        """What the request's steps need; one without guidance takes the same pass twice in a batch that has it."""
        request_id = state.request.request_id
        prepared = self._prepared.pop(request_id, None) or self.model.prepare(state)
        self._prepared[request_id] = prepared
        while len(self._prepared) > 1 and sum(one.num_bytes for one in self._prepared.values()) > PREPARED_BYTES:
            self._prepared.popitem(last=False)
        if prepared.text.shape[1] == passes:
            return prepared
        return prepared.repeated(passes)

    @staticmethod
    def _inputs(program: StepProgram, states: Sequence[RequestState], prepared: Sequence[Prepared]) -> StepInputs:
        """Without a copy from the host, which would wait until the device is through with the chunk before."""
        whole = torch.cat([state.latents.transpose(0, 1) for state in states], dim=1)
        scales = [whole.new_full((1,), state.request.guidance_scale, dtype=torch.float32) for state in states]
        return StepInputs(
            latents=program.layout.image.shard(whole),
            text=program.text(prepared),
            table=program.table(prepared, [0] * len(states)),
            scales=torch.cat(scales),
            sigma_steps=scales[0].new_zeros(len(states)),
            mask=program.mask(prepared),
        )
