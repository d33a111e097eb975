"""What a server reads: its configuration and keys, calls, the journal of jobs, messages between processes."""

import io
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from fuzz.target import FindingError, Target, check_words
from fuzz.text import as_text, words
from server.sleeping import make_service
from tetriserve.cli import build_parser
from tetriserve.configuration.declared import PREFIX, declared
from tetriserve.configuration.read import read_value
from tetriserve.configuration.resolve import resolve
from tetriserve.configuration.show import as_argument
from tetriserve.configuration.tree import Configuration
from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine import messages
from tetriserve.server.call import read_call
from tetriserve.server.config import KEYS_VARIABLE, ServerConfig
from tetriserve.server.job_record import JobRecord, read_record, write_record
from tetriserve.server.keys import KeyRing, read_keys
from tetriserve.server.wire.images import EXAMPLES, ImagesRequest

TOML = """
port = 8000
policy = "default"
sizes = ["256x256", "512x512"]
admission = "reject"
slo = { "256x256" = 1.5, "512x512" = 2 }
classes = { batch = "10:0.25" }
log_format = "json"
max_queue = 0x40
[default]
chunk_s = 0.2
[tetriserve]
placement = false
"""
TEXTS = {
    "sizes": "256x256,512x512",
    "slo": "256x256=1.5,512x512=2",
    "classes": "batch=10:0.25,fast=0.5:8",
    "port": "8000",
    "grace_s": "2.5e1",
    "cors_origins": "http://a.example,http://b.example",
    "state_dir": "~/jobs",
    "default.batching": "on",
    "dtype": "float32",
}
"""A setting of every way to read one."""
KEYS = "alice:0123456789abcdef0123\n# nobody\nfedcba9876543210fedc\n"
COMMAND_LINES = (
    ["serve", "--port", "8000", "--sizes=256x256,512x512", "--no-tetriserve-placement", "--admission", "reject"],
    ["generate", "a red apple", "--size", "256x256", "--steps", "4", "--seed", "7", "--out", "apple.png"],
    ["simulate", "--policy", "rssp,default", "--gpus", "4", "--rate", "12.5", "--bound"],
    ["bench", "serve", "--url", "http://127.0.0.1:8000", "--num-requests", "9"],
    ["evaluate", "run", "--study", "cpu", "--minutes", "5"],
)
PARSER = build_parser()
SETTINGS = {one.key: one for one in declared(Configuration)}
SERVICE = make_service()[0]
REQUEST = Request("img-1", "a red apple", Size(256, 256), 20, 3.5, 7, 1.0, 5.0)


def _file(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def read_configuration(data: bytes, folder: Path) -> None:
    resolve(Configuration(), {"config": _file(data, folder, "serve.toml")}, {})


def read_setting(key: str, data: bytes, _: Path) -> None:
    """From the text of a flag or variable."""
    one = SETTINGS[key]
    read_value(one, data.decode("utf-8", "surrogateescape"), one.flag)


def read_environment(data: bytes, _: Path) -> None:
    """Lines NAME=VALUE, without TETRISERVE_ in front."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    resolve(Configuration(), {}, {PREFIX + name: text for name, _, text in (line.partition("=") for line in lines)})


def as_environment(document: Any) -> bytes:
    pairs = document.items() if isinstance(document, dict) else enumerate(document if document else ())
    return "\n".join(f"{name}={text}" for name, text in pairs).encode("utf-8", "surrogatepass")


def _environment() -> dict[str, str]:
    """Every setting of which one can type the default."""
    typed = {one.variable.removeprefix(PREFIX): as_argument(one, one.default) for one in SETTINGS.values()}
    return {name: text for name, text in typed.items() if text is not None}


def read_command_line(data: bytes, _: Path) -> None:
    """Arguments with NUL between them, as the kernel keeps them."""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            PARSER.parse_args(data.decode("utf-8", "surrogateescape").split("\0"))
    except SystemExit as error:
        if error.code not in (0, 2):
            raise FindingError(f"exit status {error.code}") from error
        if error.code:
            check_words(said.getvalue().removeprefix("tetriserve: ").removesuffix("\n"))


def as_arguments(document: Any) -> bytes:
    parts = document if isinstance(document, list) else [document]
    return "\0".join(str(part) for part in parts).encode("utf-8", "surrogatepass")


def read_api_keys(data: bytes, folder: Path) -> None:
    KeyRing(read_keys(_file(data, folder, "keys"), {KEYS_VARIABLE: ""})).caller("0123456789abcdef0123")


def read_body(data: bytes, _: Path) -> Any:
    body = ImagesRequest.model_validate_json(data)
    call = read_call(SERVICE, ServerConfig(), body, None, "anybody")
    return write_record(JobRecord("job-1", "sleeper", call, int(time.time())))


def read_header(data: bytes, _: Path) -> Any:
    read_call(SERVICE, ServerConfig(), ImagesRequest(prompt="a red apple"), data.decode("latin-1"), "anybody")


def read_journal(data: bytes, _: Path) -> None:
    write_record(read_record(data.decode()).revived("img-2", 1.0))


def _record() -> Any:
    return msgspec.json.decode(read_body(b'{"prompt": "a red apple", "seed": 1, "slo_ms": 4000}', Path()))


def _commands() -> tuple[Any, ...]:
    sent = (
        messages.Setup("model", ("cpu", "cpu"), 0, "float32", 1, ((Size(256, 256), 1),)),
        messages.Encode(1, REQUEST),
        messages.Denoise(2, ("img-1",), (0, 1), (0,), 4),
        messages.Restore(REQUEST, b"1234", True),
        messages.Regroup(1, "file", (0, 1), ((0, 1),)),
    )
    return tuple(msgspec.msgpack.decode(messages.encode(one)) for one in sent)


def _reports() -> tuple[Any, ...]:
    picture = messages.Picture(16, 16, b"rgb")
    failure = messages.Failure("img-1", "out_of_memory", "too large")
    sent = (
        messages.Finished(1, 0.5, 1.0, (failure,), picture=picture, previews=(messages.Preview("img-1", picture),)),
        messages.StartFailed("no such device", True),
        messages.Joined(1, "no"),
    )
    return tuple(msgspec.msgpack.decode(messages.encode(one)) for one in sent)


TARGETS = (
    Target("configuration file", read_configuration, (words(TOML),), as_text, share=0.5),
    *(
        Target(f"setting {key}", partial(read_setting, key), (words(text),), as_text, share=0.5)
        for key, text in TEXTS.items()
    ),
    Target("environment", read_environment, (_environment(),), as_environment),
    Target("command line", read_command_line, COMMAND_LINES, as_arguments),
    Target("key file", read_api_keys, (words(KEYS),), as_text),
    Target("image call", read_body, tuple(EXAMPLES), errors=(ValidationError, InvalidRequestError), worded=False),
    Target("SLO header", read_header, (words("1500.5"),), as_text, (InvalidRequestError,), share=0.5),
    Target("job journal", read_journal, (_record(),), errors=(ValueError,), worded=False),
    Target(
        "command to a worker",
        lambda data, _: messages.decode_command(data),
        _commands(),
        msgspec.msgpack.encode,
        (msgspec.DecodeError, UnicodeDecodeError),
        worded=False,
    ),
    Target(
        "report of a worker",
        lambda data, _: messages.decode_report(data),
        _reports(),
        msgspec.msgpack.encode,
        (msgspec.DecodeError, UnicodeDecodeError),
        worded=False,
    ),
)
