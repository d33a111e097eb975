"""What a picture is called, and how that becomes tokens.

Owns the caption grammar and the tokenizer. A prompt only ever nearly matches a caption, so the grammar is
wide: label alone, with an article, with tags, tags alone, the emoji character itself, with and without
colour, background and style. Knows nothing of pixels.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from colours import BACKGROUNDS, COLOURS, name_of
from pictures import Picture
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


class Captioner:
    """Names pictures of the rows of `captions.jsonl` in one of many ways. Tags that few concepts share come oftener."""

    def __init__(self, rows: Sequence[dict], rng: random.Random) -> None:
        self.rng = rng
        self.uses = Counter(tag for tags in {row["hexcode"]: row["tags"] for row in rows}.values() for tag in tags)

    def tag(self, tags: Sequence[str]) -> str:
        """One of the tags."""
        return self.rng.choices(tags, [1 / self.uses[tag] for tag in tags])[0]

    def describe(self, row: dict) -> str:
        """One way to name the concept of a row, without style, colour or background."""
        label, tags, rng, roll = row["label"], row["tags"], self.rng, self.rng.random()
        if roll < 0.52:
            return label
        if roll < 0.66:
            return with_article(label)
        if roll < 0.77 and tags:
            return ", ".join([label, *rng.sample(tags, min(len(tags), rng.randint(1, 3)))])
        if roll < 0.93 and tags:
            tag = self.tag(tags)
            return rng.choice([tag, with_article(tag), " ".join(rng.sample(tags, min(len(tags), 2)))])
        if roll < 0.96:
            return row["emoji"]
        return rng.choice(["a picture of ", "an emoji of ", "a drawing of "]) + with_article(label)

    def in_colour(self, row: dict, colour: str) -> str:
        """Name a concept and the colour it has."""
        noun = self.tag(row["tags"]) if row["tags"] and self.rng.random() < 0.35 else row["label"]
        text = f"{colour} {noun}"
        return text if self.rng.random() < 0.6 else with_article(text)

    def caption(self, row: dict, picture: Picture) -> str:
        """A caption of a picture of the row's sprite. Some name a colour that the sprite has by itself."""
        own = name_of(row["hue"]) if row["hue"] is not None and self.rng.random() < 0.12 else None
        colour = picture.colour or own
        text = self.in_colour(row, colour) if colour else self.describe(row)
        if picture.background:
            text += self.rng.choice([" on a {} background", ", {} background", " on {}"]).format(picture.background)
        return with_style(text, row["style"], self.rng)


def reference_prompt(row: dict) -> str:
    """The prompt by which the model is measured: "<label>, <style> style"."""
    return f"{row['label']}, {row['style']} style"


def corpus(rows: Sequence[dict]) -> Iterable[str]:
    """Text from which the vocabulary is learned; labels weigh more than tags."""
    captioner = Captioner(rows, random.Random(0))
    yield from [*COLOURS, *BACKGROUNDS] * 100
    for row in rows:
        yield from [reference_prompt(row)] * 4
        yield " ".join(row["tags"])
        yield row["emoji"]
        yield from (captioner.describe(row) for _ in range(2))


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


def encode_pictures(
    tokenizer: PreTrainedTokenizerFast, rows: Sequence[dict], pictures: Sequence[Picture], num_captions: int, seed: int
) -> torch.Tensor:
    """Return `num_captions` captions of every picture as tokens (len(pictures), num_captions, TEXT_TOKENS) int16."""
    captioner = Captioner(rows, random.Random(seed))
    texts = [captioner.caption(rows[picture.row], picture) for picture in pictures for _ in range(num_captions)]
    return encode(tokenizer, texts).view(len(pictures), num_captions, TEXT_TOKENS)
