"""The kinds of blocks that multimodal diffusion transformers are made of, as few passes over memory as they allow.

Both work on a joint sequence (n, B, D) of text tokens and then image tokens, and on what normalising and modulating it
gave; both return the latter for the next block, because a residual and the next norm are one pass (`fused`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tetriserve.models.attention import JointAttention
from tetriserve.models.fused import Modulation, QKNorms, residual_norm_modulate
from tetriserve.models.linear import FeedForward, Product

NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Residual:
    """A joint sequence in flight: the residual stream `x` (n, B, D) and this step's modulations (B, K, D)."""

    x: Tensor
    table: Tensor
    num_text: int

    def add(self, branch: Tensor | None, where: Modulation) -> Tensor:
        """Add a gated branch and return the stream, normalised and modulated."""
        return residual_norm_modulate(self.x, branch, self.table, where, self.num_text, NORM_EPS)

    def image(self) -> "Residual":
        """The image tokens of this stream, in the same memory."""
        return Residual(self.x[self.num_text :], self.table, 0)


@dataclass(frozen=True, slots=True)
class StreamWeights:
    """What text tokens or image tokens have of their own in a joint block."""

    qkv: Product
    out: Product
    mlp: FeedForward


@dataclass(frozen=True, slots=True)
class ImageAttention:
    """An attention of image tokens alone, beside the joint one of a block: some blocks of SD3.5 medium have it.

    `before` modulates a norm of its own; `gate` is where its gate stands.
    """

    qkv: Product
    out: Product
    norms: QKNorms | None
    before: Modulation
    gate: int

    def __call__(self, residual: Residual, attention: JointAttention) -> None:
        """Add the gated branch to the stream; what the block's other attention starts from is made before that."""
        assert attention.image is not None
        image = residual.image()
        branch = self.out(attention.image(self.qkv(image.add(None, self.before)), self.norms))
        image.x.addcmul_(branch, image.table[:, self.gate])


@dataclass(frozen=True, slots=True)
class JointBlock:
    """Two streams with weights of their own and one attention: the double block of FLUX, SD3's and Qwen-Image's block.

    `after_attention` and `after_mlp` say where gates and the modulation of what follows stand.
    """

    text: StreamWeights
    image: StreamWeights
    norms: QKNorms | None
    after_attention: Modulation
    after_mlp: Modulation
    second: ImageAttention | None = None

    def __call__(self, residual: Residual, y: Tensor, attention: JointAttention) -> Tensor:
        """`y` (n, B, D), the modulated input -> that of the next block."""
        num_text = residual.num_text
        if self.second is not None:
            self.second(residual, attention)
        attended = attention(_joint_qkv(y, num_text, self.text.qkv, self.image.qkv), self.norms)
        branch = torch.empty_like(y)
        self.text.out(attended[:num_text], out=branch[:num_text])
        self.image.out(attended[num_text:], out=branch[num_text:])
        y = residual.add(branch, self.after_attention)
        self.text.mlp(y[:num_text], out=branch[:num_text])
        self.image.mlp(y[num_text:], out=branch[num_text:])
        return residual.add(branch, self.after_mlp)


@dataclass(frozen=True, slots=True)
class LastJointBlock:
    """A joint block after which text tokens are of no use: the last one of SD3. Fields as in JointBlock."""

    text_qkv: Product
    image: StreamWeights
    norms: QKNorms | None
    after_attention: Modulation
    after_mlp: Modulation
    second: ImageAttention | None = None

    def __call__(self, residual: Residual, y: Tensor, attention: JointAttention) -> Tensor:
        """`y` (n, B, D), the modulated input -> what follows the block, of image tokens alone: (l, B, D)."""
        num_text = residual.num_text
        if self.second is not None:
            self.second(residual, attention)
        attended = attention(_joint_qkv(y, num_text, self.text_qkv, self.image.qkv), self.norms)
        image = residual.image()
        y = image.add(self.image.out(attended[num_text:]), self.after_attention)
        return image.add(self.image.mlp(y), self.after_mlp)


@dataclass(frozen=True, slots=True)
class SingleBlock:
    """One set of weights for all tokens, attention and MLP side by side: the single block of FLUX."""

    qkv: Product
    out: Product
    mlp: FeedForward
    norms: QKNorms | None
    after: Modulation

    def __call__(self, residual: Residual, y: Tensor, attention: JointAttention) -> Tensor:
        """`y` (n, B, D), the modulated input -> that of the next block."""
        entered = self.qkv.enter(y)
        branch = self.out(attention(self.qkv(entered), self.norms))
        self.mlp.add_to(entered, branch)
        return residual.add(branch, self.after)


Block = JointBlock | LastJointBlock | SingleBlock


def _joint_qkv(y: Tensor, num_text: int, text: Product, image: Product) -> Tensor:
    """Projections of (n, B, D) tokens, each stream by its own weights: (n, B, 3·D)."""
    qkv = _wide(y, image)
    text(y[:num_text], out=qkv[:num_text])
    image(y[num_text:], out=qkv[num_text:])
    return qkv


def _wide(x: Tensor, linear: Product) -> Tensor:
    """Room for the output of `linear` for all tokens of `x`."""
    return x.new_empty(*x.shape[:-1], linear.weight.shape[0])
