"""Diffusers' names of weights back to those under which FLUX and Stable Diffusion 3 were published."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Names = Mapping[str, str]

SD3_NAMES: Names = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    r"transformer_blocks\.(\d+)\.(attn2?)\.(to_[qkv])": r"joint_blocks.\1.x_block.\2.qkv",
    r"transformer_blocks\.(\d+)\.attn\.add_[qkv]_proj": r"joint_blocks.\1.context_block.attn.qkv",
    r"transformer_blocks\.(\d+)\.(attn2?)\.to_out\.0": r"joint_blocks.\1.x_block.\2.proj",
    r"transformer_blocks\.(\d+)\.attn\.to_add_out": r"joint_blocks.\1.context_block.attn.proj",
    r"transformer_blocks\.(\d+)\.(attn2?)\.norm_([qk])": r"joint_blocks.\1.x_block.\2.ln_\3",
    r"transformer_blocks\.(\d+)\.attn\.norm_added_([qk])": r"joint_blocks.\1.context_block.attn.ln_\2",
    r"transformer_blocks\.(\d+)\.norm1_context\.linear": r"joint_blocks.\1.context_block.adaLN_modulation.1",
    r"transformer_blocks\.(\d+)\.norm1\.linear": r"joint_blocks.\1.x_block.adaLN_modulation.1",
    r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj": r"joint_blocks.\1.x_block.mlp.fc1",
    r"transformer_blocks\.(\d+)\.ff\.net\.2": r"joint_blocks.\1.x_block.mlp.fc2",
    r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj": r"joint_blocks.\1.context_block.mlp.fc1",
    r"transformer_blocks\.(\d+)\.ff_context\.net\.2": r"joint_blocks.\1.context_block.mlp.fc2",
}
FLUX_NAMES: Names = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    r"single_transformer_blocks\.(\d+)\.(attn\.to_[qkv]|proj_mlp)": r"single_blocks.\1.linear1",
    r"single_transformer_blocks\.(\d+)\.proj_out": r"single_blocks.\1.linear2",
    r"single_transformer_blocks\.(\d+)\.norm\.linear": r"single_blocks.\1.modulation.lin",
    r"single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight": r"single_blocks.\1.norm.query_norm.scale",
    r"single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight": r"single_blocks.\1.norm.key_norm.scale",
    r"transformer_blocks\.(\d+)\.attn\.to_[qkv]": r"double_blocks.\1.img_attn.qkv",
    r"transformer_blocks\.(\d+)\.attn\.add_[qkv]_proj": r"double_blocks.\1.txt_attn.qkv",
    r"transformer_blocks\.(\d+)\.attn\.to_out\.0": r"double_blocks.\1.img_attn.proj",
    r"transformer_blocks\.(\d+)\.attn\.to_add_out": r"double_blocks.\1.txt_attn.proj",
    r"transformer_blocks\.(\d+)\.attn\.norm_q\.weight": r"double_blocks.\1.img_attn.norm.query_norm.scale",
    r"transformer_blocks\.(\d+)\.attn\.norm_k\.weight": r"double_blocks.\1.img_attn.norm.key_norm.scale",
    r"transformer_blocks\.(\d+)\.attn\.norm_added_q\.weight": r"double_blocks.\1.txt_attn.norm.query_norm.scale",
    r"transformer_blocks\.(\d+)\.attn\.norm_added_k\.weight": r"double_blocks.\1.txt_attn.norm.key_norm.scale",
    r"transformer_blocks\.(\d+)\.norm1\.linear": r"double_blocks.\1.img_mod.lin",
    r"transformer_blocks\.(\d+)\.norm1_context\.linear": r"double_blocks.\1.txt_mod.lin",
    r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj": r"double_blocks.\1.img_mlp.0",
    r"transformer_blocks\.(\d+)\.ff\.net\.2": r"double_blocks.\1.img_mlp.2",
    r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj": r"double_blocks.\1.txt_mlp.0",
    r"transformer_blocks\.(\d+)\.ff_context\.net\.2": r"double_blocks.\1.txt_mlp.2",
}
PARTS = ("_q", "_k", "_v", "_mlp")
"""In which order projections follow each other in one weight."""


def original_layout(weights: Mapping[str, Tensor], names: Names, last_block: int | None = None) -> dict[str, Tensor]:
    """Weights under their original names; the text tokens of SD3's `last_block` have two modulations, not six."""
    parts: dict[str, list[str]] = {}
    for name in weights:
        parts.setdefault(_original_name(name, names), []).append(name)
    swapped = ("norm_out.", f"transformer_blocks.{last_block}.norm1_context.")
    made = {}
    for original, members in parts.items():
        ordered = sorted(members, key=lambda name: [part in name for part in PARTS], reverse=True)
        joined = torch.cat([weights[name] for name in ordered])
        made[original] = torch.cat(joined.chunk(2)[::-1]) if members[0].startswith(swapped) else joined
    return made


def _original_name(name: str, names: Names) -> str:
    for pattern, replacement in names.items():
        renamed, count = re.subn(rf"^{pattern}(?=$|\.)", replacement, name)
        if count:
            return renamed
    return name
