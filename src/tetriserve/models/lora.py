"""LoRAs, merged into a pipeline's weights before anything is made of these: steps cost what they cost without.

Source: diffusers' loaders, which know the layouts of Kohya, XLabs and others, and peft, which merges.
"""

from typing import Any

import torch
from diffusers.utils import is_peft_available
from safetensors import SafetensorError

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.config import Lora

NAME = "merged"


def merge_lora(pipeline: Any, lora: Lora) -> None:
    """Add `scale` times the file's changes to the weights of a diffusers pipeline.

    Raises ConfigurationError if the file holds none for this pipeline.
    """
    if not is_peft_available():
        raise ConfigurationError("lora needs the extra `lora`: pip install 'tetriserve[lora]'")
    width = pipeline.transformer.config.in_channels
    try:
        directory, name = lora.path.parent, lora.path.name
        pipeline.load_lora_weights(directory, weight_name=name, adapter_name=NAME, use_safetensors=True)
        parts = list(pipeline.get_list_adapters())
        if not parts:
            raise ValueError(f"none of its weights belong to a {type(pipeline).__name__}")
        if pipeline.transformer.config.in_channels != width:
            raise ValueError("it changes what the network takes: LoRAs that steer by pictures are not supported")
        pipeline.fuse_lora(components=parts, lora_scale=lora.scale, safe_fusing=True)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(f"lora {str(lora.path)!r} can't be merged: {error}") from error
    pipeline.unload_lora_weights()
