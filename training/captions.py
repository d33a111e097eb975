"""What a picture is called, and how that becomes tokens.

Owns the caption grammar and the tokenizer. A prompt only ever nearly matches a caption, so the grammar is
wide: label alone, with an article, with tags, tags alone, the emoji character itself, with and without the
style. Knows nothing of pixels.
"""

import random
from collections.abc import Iterable, Sequence

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXT_TOKENS = 32
VOCABULARY_SIZE = 3072
PAD, EOS = "<pad>", "</s>"  # ids 0 and 1


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def with_style(text: str, style: str, rng: random.Random) -> str:
    """Append the style. Bare captions are mostly of the 3d style, so that bare prompts give it."""
    if rng.random() < (0.5 if style == "3d" else 0.06):
        return text
    roll = rng.random()
    if roll < 0.8:
        return f"{text}, {style} style"
    return f"{text} in {style} style" if roll < 0.9 else f"{style} {text}"


def describe(row: dict, rng: random.Random) -> str:
    """One way to name the concept of a row of `captions.jsonl`, without its style."""
    label, tags, roll = row["label"], row["tags"], rng.random()
    if roll < 0.52:
        return label
    if roll < 0.68:
        return with_article(label)
    if roll < 0.82 and tags:
        return ", ".join([label, *rng.sample(tags, min(len(tags), rng.randint(1, 3)))])
    if roll < 0.92 and tags:
        tag = rng.choice(tags)
        return rng.choice([tag, with_article(tag), " ".join(rng.sample(tags, min(len(tags), 2)))])
    if roll < 0.96:
        return row["emoji"]
    return rng.choice(["a picture of ", "an emoji of ", "a drawing of "]) + with_article(label)


def caption(row: dict, rng: random.Random) -> str:
    """A caption of one sprite on white."""
    return with_style(describe(row, rng), row["style"], rng)


def reference_prompt(row: dict) -> str:
    """The prompt by which the model is measured: "<label>, <style> style"."""
    return f"{row['label']}, {row['style']} style"


def corpus(rows: Sequence[dict]) -> Iterable[str]:
    """Text from which the vocabulary is learned; labels weigh more than tags."""
    rng = random.Random(0)
    for row in rows:
        yield from [reference_prompt(row)] * 4
        yield " ".join(row["tags"])
        yield row["emoji"]
        yield from (describe(row, rng) for _ in range(2))


def train_tokenizer(rows: Sequence[dict]) -> PreTrainedTokenizerFast:
    """Learn a lower-casing byte-level BPE: any text at all has tokens, and common words are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace(Regex("\ufe0f"), "")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(rows), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, model_max_length=TEXT_TOKENS
    )


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> torch.Tensor:
    """Return token ids (len(texts), TEXT_TOKENS) int16, padded and truncated as in serving."""
    batch = tokenizer(list(texts), padding="max_length", max_length=TEXT_TOKENS, truncation=True)
    return torch.tensor(batch["input_ids"], dtype=torch.int16)


def encode_rows(tokenizer: PreTrainedTokenizerFast, rows: Sequence[dict], num_captions: int, seed: int) -> torch.Tensor:
    """Return `num_captions` captions of every row as tokens (len(rows), num_captions, TEXT_TOKENS) int16."""
    rng = random.Random(seed)
    texts = [caption(row, rng) for row in rows for _ in range(num_captions)]
    return encode(tokenizer, texts).view(len(rows), num_captions, TEXT_TOKENS)
