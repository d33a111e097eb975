"""Cases that lead to new code, from atheris: bytes as they come, or the bytes that hypothesis draws a document from."""

import os
from collections.abc import Callable

from hypothesis import given

from fuzz.feeder import Feeder
from fuzz.mutations import nearly_right
from fuzz.nearly import without_end
from fuzz.target import Target

MAX_BYTES = 8192
ENDLESS = 2**31 - 1


def feed_bytes(target: Target, cases: int, seed: int, feeder: Feeder) -> None:
    """Starts from the target's documents. Does not come back: libFuzzer ends its process."""
    corpus = feeder.folder / "corpus"
    corpus.mkdir()
    for index, document in enumerate(target.documents):
        (corpus / f"document{index}").write_bytes(target.write(document))
    _fuzz(lambda data: feeder.feed(data, lambda: target.check(data, feeder.files)), cases, seed, feeder, str(corpus))


def feed_drawn(target: Target, cases: int, seed: int, feeder: Feeder) -> None:
    """Documents that are nearly right, ever more of those that led to new code. Does not come back."""

    @without_end(ENDLESS)
    @given(nearly_right(target))
    def check(data: bytes) -> None:
        feeder.feed(data, lambda: target.check(data, feeder.files))

    _fuzz(check.hypothesis.fuzz_one_input, cases, seed, feeder)  # type: ignore[attr-defined]


def _fuzz(feed: Callable[[bytes], object], cases: int, seed: int, feeder: Feeder, *corpus: str) -> None:
    import atheris

    def until_enough(data: bytes) -> None:
        if feeder.count.value >= cases:
            os._exit(0)
        feed(data)

    # Hangs are the feeder's to notice: libFuzzer would end the process, and the cases that are left with it.
    flags = (f"-seed={seed % ENDLESS + 1}", f"-max_len={MAX_BYTES}", "-len_control=0", "-timeout=86400")
    atheris.Setup([feeder.name, *flags, f"-artifact_prefix={feeder.folder}/", *corpus], until_enough)
    atheris.Fuzz()
