"""Prompts that are longer than a text encoder reads."""

from typing import Any


def cut_warning(prompt: str, tokenizer: Any, max_tokens: int, encoder: str) -> str | None:
    """A sentence for the user if `tokenizer` cuts the prompt to `max_tokens` (its end marks included), else None."""
    num_tokens = len(tokenizer(prompt, truncation=False).input_ids)
    if num_tokens <= max_tokens:
        return None
    return f"the prompt was cut: the {encoder} text encoder kept {max_tokens} of {num_tokens} tokens of {prompt[:40]!r}"
