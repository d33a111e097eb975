"""FLUX attention on a part of the sequence. The split is an argument of every call, so it may change at every step."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from tetriserve.models.ulysses import TokenSplit, ulysses_attention


class FluxUlyssesProcessor:
    """Attention processor for both kinds of FLUX blocks; `split` comes through `joint_attention_kwargs`.

    Source: diffusers FluxAttnProcessor; differs: the attention call is `ulysses_attention`.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        *,
        split: TokenSplit,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, l, H·D), and (B, t, H·D) of text in double blocks -> the same shapes."""
        assert attention_mask is None
        q, k, v = _project(hidden_states, (attn.to_q, attn.to_k, attn.to_v), attn.head_dim)
        q, k = attn.norm_q(q), attn.norm_k(k)
        if encoder_hidden_states is not None:
            added = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            text_q, text_k, text_v = _project(encoder_hidden_states, added, attn.head_dim)
            q = torch.cat((attn.norm_added_q(text_q), q), dim=1)
            k = torch.cat((attn.norm_added_k(text_k), k), dim=1)
            v = torch.cat((text_v, v), dim=1)
        out = (
            ulysses_attention(_rotate(q, image_rotary_emb), _rotate(k, image_rotary_emb), v, split)
            .flatten(2)
            .to(q.dtype)
        )
        if encoder_hidden_states is None:
            return out
        num_text = encoder_hidden_states.shape[1]
        return attn.to_out[1](attn.to_out[0](out[:, num_text:])), attn.to_add_out(out[:, :num_text])


def _project(x: Tensor, projections: Iterable[nn.Module], head_dim: int) -> list[Tensor]:
    """(B, l, C) -> q, k and v of (B, l, H, D)."""
    return [projection(x).unflatten(-1, (-1, head_dim)) for projection in projections]


def _rotate(x: Tensor, rotary: Any) -> Tensor:
    """Rotary position embedding of (B, l, H, D); `rotary` holds cos and sin of this rank's tokens, (l, D) each."""
    return cast(Tensor, apply_rotary_emb(x, rotary, sequence_dim=1))
