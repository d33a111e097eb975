"""Stage two: transformer and both text encoders together, by flow matching on the latents of stage one.

The blocks run in bfloat16 on a copy of their weights; the weights themselves, text encoders, embedders and
output layer stay in float32. No compiler: on torch 2.11 the blocks compiled for dynamic shapes failed in the
backward pass, and an earlier compiled try became NaN.
"""

import copy
import random
from pathlib import Path

import lean_flux
import torch
import torch.nn.functional as F
from captions import TEXT_TOKENS
from diffusers import FluxTransformer2DModel
from latents import Batch, Size, TrainingSet
from loop import Average, Clock, LossGuard, learning_rate, load, save
from muon import Muon
from networks import PIXELS_PER_TOKEN, make_text_encoder, make_text_encoder_2, make_transformer, shift_at
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel, T5EncoderModel

PEAK_LEARNING_RATE = 1.6e-3
WARMUP_STEPS = 300
CONSTANT_UNTIL = 0.4
CAPTION_DROPOUT = 0.1
CHECKPOINT_EVERY_S = 90


def image_ids(size: Size, device: str) -> torch.Tensor:
    """Return rotary positions (L, 3) as FluxPipeline makes them: (0, row, column)."""
    rows = torch.arange(size.height // PIXELS_PER_TOKEN, device=device)
    columns = torch.arange(size.width // PIXELS_PER_TOKEN, device=device)
    grid = torch.cartesian_prod(rows, columns).float()
    return torch.cat([torch.zeros_like(grid[:, :1]), grid], dim=1)


class Learner(nn.Module):
    """The three networks that learn together. Without an attention mask, as FluxPipeline calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.text_encoder = make_text_encoder()
        self.text_encoder_2 = make_text_encoder_2()
        self.transformer = make_transformer()

    def blocks(self) -> nn.ModuleDict:
        """The transformer's blocks: most of the arithmetic."""
        return nn.ModuleDict(
            {
                "double_blocks": self.transformer.transformer_blocks,
                "single_blocks": self.transformer.single_transformer_blocks,
            }
        )

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Matrices that Muon trains: those of attention and MLPs."""
        parts = [self.blocks(), self.text_encoder, self.text_encoder_2]
        named = [pair for part in parts for pair in part.named_parameters()]
        excluded = ("embed", "shared", "norm", "relative_attention_bias")
        return [p for name, p in named if p.ndim == 2 and not any(word in name for word in excluded)]


class HalfBlocks:
    """A bfloat16 copy of the blocks: forward and backward run on it; the originals are updated."""

    def __init__(self, originals: nn.ModuleDict, dtype: torch.dtype) -> None:
        self.modules = copy.deepcopy(originals).to(dtype)
        self.originals, self.copies = list(originals.parameters()), list(self.modules.parameters())
        self.dtype = dtype
        for parameter in self.originals:
            parameter.grad = torch.zeros_like(parameter)

    def return_gradients(self) -> None:
        """Move the copies' gradients to the originals."""
        torch._foreach_copy_([p.grad for p in self.originals], [p.grad for p in self.copies])
        for parameter in self.copies:
            parameter.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the originals' values."""
        torch._foreach_copy_(self.copies, self.originals)


def sample_times(count: int, num_tokens: int, device: str) -> torch.Tensor:
    """Logit-normal times around the serving schedule's shift, a tenth uniform so that both ends are seen."""
    shifted = torch.sigmoid(torch.randn(count, device=device) * 1.1 + shift_at(num_tokens))
    return torch.where(torch.rand(count, device=device) < 0.1, torch.rand(count, device=device), shifted)


class Run:
    """The mutable state of a run: learner, optimizer, average, step count. Owns its checkpoint."""

    def __init__(self, device: str, work: Path, clock: Clock, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.device, self.work, self.clock, self.step = device, work, clock, 0
        self.learner = Learner().to(device)
        self.parameters = list(self.learner.parameters())
        matrices = self.learner.hidden_matrices()
        chosen = {id(p) for p in matrices}
        self.optimizer = Muon(matrices, [p for p in self.parameters if id(p) not in chosen])
        self.average = Average(self.parameters, decay=0.999)
        self._restore()
        self.half = HalfBlocks(self.learner.blocks(), dtype)
        copied = {id(p) for p in self.half.originals}
        self.others = [p for p in self.parameters if id(p) not in copied]
        self.tables: dict[Size, lean_flux.Rotary] = {}

    def _restore(self) -> None:
        if state := load(self.work / "transformer.pt", self.device):
            self.learner.load_state_dict(state["learner"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values, self.step = state["average"], state["step"]
            self.clock.spent_before_s = state["spent_s"]

    def start_from(self, folder: Path) -> None:
        """Begin with an exported model's weights, without optimizer state."""
        self.learner.transformer.load_state_dict(
            FluxTransformer2DModel.from_pretrained(folder / "transformer").state_dict()
        )
        self.learner.text_encoder.load_state_dict(CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict())
        self.learner.text_encoder_2.load_state_dict(
            T5EncoderModel.from_pretrained(folder / "text_encoder_2").state_dict()
        )
        self.average = Average(self.parameters, decay=self.average.decay)
        self.half.refresh()

    def save(self) -> None:
        """Write the checkpoint, all that a next piece needs."""
        save(
            {
                "learner": self.learner.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.values,
                "step": self.step,
                "spent_s": self.clock.spent_s,
            },
            self.work / "transformer.pt",
        )

    def finish(self) -> Learner:
        """Write the checkpoint and (for `export.py`) the averaged weights in fp16; return the latter."""
        self.save()
        self.average.swap()
        weights = {name: value.half().contiguous() for name, value in self.learner.state_dict().items()}
        save_file({k: v.clone() for k, v in weights.items()}, self.work / "averaged.safetensors")
        return self.learner.eval()

    def table(self, size: Size) -> lean_flux.Rotary:
        """Rotary tables of a size, made once."""
        if size not in self.tables:
            ids = image_ids(size, self.device)
            self.tables[size] = lean_flux.rotary(self.learner.transformer, ids, TEXT_TOKENS, self.half.dtype)
        return self.tables[size]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of the predicted velocity along the straight path from image to noise."""
        times = sample_times(len(batch.latents), batch.size.num_tokens, self.device)
        noise, mix = torch.randn_like(batch.latents), times[:, None, None]
        condition = lean_flux.Condition(
            hidden=self.learner.text_encoder_2(batch.tokens).last_hidden_state,
            pooled=self.learner.text_encoder(batch.tokens).pooler_output,
        )
        noisy = (1 - mix) * batch.latents + mix * noise
        velocity = lean_flux.forward(
            self.learner.transformer, self.half.modules, noisy, times, condition, self.table(batch.size)
        )
        return F.mse_loss(velocity, noise - batch.latents)

    def advance(self, batch: Batch) -> torch.Tensor:
        """One optimizer step; returns the loss, still on the device."""
        for parameter in self.others:
            parameter.grad = None
        loss = self.loss(batch)
        loss.backward()
        self.half.return_gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        rate = learning_rate(PEAK_LEARNING_RATE, self.step, self.clock.progress, WARMUP_STEPS, CONSTANT_UNTIL)
        self.optimizer.step(rate)
        self.half.refresh()
        self.average.update(self.step)
        self.step += 1
        return loss


def train_transformer(data: TrainingSet, run: Run, batch_tokens: int) -> Learner:
    """Train (or go on) until the clock is over; return the averaged networks."""
    clock = run.clock
    torch.manual_seed(run.step + 1)
    rng, guard = random.Random(run.step), LossGuard(run.device)
    mean_loss = torch.zeros((), device=run.device)
    saved_s, reported_step = clock.piece_spent_s, run.step
    while not clock.is_over:
        loss = run.advance(data.batch(batch_tokens, CAPTION_DROPOUT, clock.progress, rng))
        guard.watch(loss)
        mean_loss += loss.detach()
        if run.step % 50 == 0:
            guard.check(run.step)
            if run.step % 500 == 0 or run.step <= 200:
                value = mean_loss.item() / (run.step - reported_step)
                print(f"step {run.step} {clock.spent_s:.0f} s loss {value:.4f}", flush=True)
                mean_loss.zero_()
                reported_step = run.step
            if clock.piece_spent_s - saved_s > CHECKPOINT_EVERY_S:
                run.save()
                saved_s = clock.piece_spent_s
    guard.check(run.step)
    return run.finish()
