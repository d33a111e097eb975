"""Every error this package raises on purpose.

TetriServeError
├── InvalidRequestError   the caller's input, with the value and the limit; `param` names the field
├── ConfigurationError    the operator's input: devices, policy, profile, model directory
└── EngineError           the engine could not do the work
    ├── RequestFailedError    one request failed; nothing else is touched
    └── RequestCancelledError its caller gave it up

A missed deadline is an outcome, not an error.
"""

MAX_CHARS = 480
LAST_CHARS = 160
"""Kept of the end of a text that is too long: the limit stands there."""


class TetriServeError(Exception):
    """Root of the tree."""


class InvalidRequestError(TetriServeError):
    """A request that cannot be served as asked. Its text is one line, whatever is quoted in it."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(one_line(message))
        self.param = param
        self.code = code


class ConfigurationError(TetriServeError):
    """A setting that cannot be used. Its text is one line, whatever is quoted in it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class EngineError(TetriServeError):
    """The engine as a whole cannot work (any more)."""


class RequestCancelledError(EngineError):
    """One accepted request was given up by its caller before there was an image."""


class RequestFailedError(EngineError):
    """One accepted request ended without an image."""

    def __init__(self, message: str, code: str = "engine_error") -> None:
        super().__init__(message)
        self.code = code


def one_line(text: str) -> str:
    """A text that quotes what others wrote, such that a terminal, a log and a header can hold it."""
    line = " ".join(text.split())
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)
    cut = " [...] "
    return shown if len(shown) <= MAX_CHARS else shown[: MAX_CHARS - LAST_CHARS - len(cut)] + cut + shown[-LAST_CHARS:]
