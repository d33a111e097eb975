"""Imports all that is fuzzed, once, before processes are forked. Must not be imported after anything of the product."""

import importlib.util
import io
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz.target import Target

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


def import_targets() -> "tuple[Target, ...]":
    """All targets, such that atheris sees which of their code is reached, where there is an atheris."""
    with _watched(), redirect_stderr(io.StringIO()):  # atheris says every module that it watches
        from fuzz.targets import TARGETS
    _draw_once()
    return TARGETS


def _draw_once() -> None:
    """Hypothesis looks for constants in all modules before its first case: once for all processes."""
    from hypothesis import given
    from hypothesis import strategies as st

    from fuzz.nearly import without_end

    without_end(1)(given(st.integers() | st.floats() | st.text())(lambda value: None))()


def _watched() -> AbstractContextManager[object]:
    if not HAS_ATHERIS:
        return nullcontext()
    import atheris

    watched: AbstractContextManager[object] = atheris.instrument_imports(include=["tetriserve", "tomllib"])
    return watched
