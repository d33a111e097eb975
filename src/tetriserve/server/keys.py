"""Who may call: API keys, compared in constant time, and the caller's name for everything behind this."""

import hashlib
import hmac
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tetriserve.core.errors import ConfigurationError
from tetriserve.server.config import KEYS_VARIABLE, ServerConfig
from tetriserve.server.errors import error_response
from tetriserve.server.wire.errors import ErrorBody

logger = logging.getLogger(__name__)

ANYBODY = "anybody"
MIN_KEY_CHARS = 16
NAME_DIGITS = 12
"""Of the digest of a key that was given no name."""
PROTECTED = ("/v1/", "/debug/")
OPEN_PREFIX = "/v1/images/files/"
"""Files have URLs that nobody can guess; browsers that show them have no key to send."""


class KeyRing:
    """Knows digests of keys, not the keys."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = [(name, _digest(key)) for name, key in keys.items()]

    @property
    def is_empty(self) -> bool:
        """Whether everybody may call."""
        return not self._digests

    def caller(self, key: str) -> str | None:
        """The name of whoever has this key. Takes equally long whichever key it is, and if it is none."""
        digest, found = _digest(key), None
        for name, known in self._digests:
            if hmac.compare_digest(digest, known):
                found = name
        return found


class KeyCheck:
    """ASGI middleware: 401 for a call of the API without a key that is known. Puts the caller's name in the scope."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        caller: str | None = ANYBODY
        if not self._keys.is_empty and path.startswith(PROTECTED) and not path.startswith(OPEN_PREFIX):
            scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            caller = self._keys.caller(key.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            message = "this server wants an API key that it knows: set the header Authorization: Bearer KEY"
            body = ErrorBody(message=message, type="invalid_request_error", code="invalid_api_key")
            await error_response(401, body, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def with_keys(config: ServerConfig) -> ServerConfig:
    """The configuration with its keys. Raises ConfigurationError."""
    return replace(config, api_keys=read_keys(config.api_key_file))


def read_keys(path: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Keys from a file, one a line as KEY or NAME:KEY, and from the environment, separated by commas.

    Raises ConfigurationError for a file that others may write, and for keys that are short or used twice.
    """
    lines: list[str] = []
    if path is not None:
        try:
            mode = path.stat().st_mode
            if mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ConfigurationError(f"api_key_file {path}: others may write it; chmod 600")
            if mode & stat.S_IROTH:
                logger.warning("%s can be read by everybody on this machine", path)
            lines += path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"api_key_file {path}: {error}") from error
    lines += environment.get(KEYS_VARIABLE, "").split(",")
    keys: dict[str, str] = {}
    for line in lines:
        text = line.partition("#")[0].strip()
        if text:
            name, _, key = text.rpartition(":")
            _add(keys, name.strip() or _default_name(key.strip()), key.strip())
    if path is not None and not keys:
        raise ConfigurationError(f"api_key_file {path}: there is no key in it")
    return keys


def _add(keys: dict[str, str], name: str, key: str) -> None:
    if len(key) < MIN_KEY_CHARS:
        raise ConfigurationError(f"API key {name!r} has {len(key)} characters; at least {MIN_KEY_CHARS} are needed")
    if name == ANYBODY:
        raise ConfigurationError(f"API key {name!r}: that is what callers without a key are called")
    if name in keys or key in keys.values():
        raise ConfigurationError(f"API key {name!r}: the name or the key is there twice")
    keys[name] = key


def _default_name(key: str) -> str:
    """The same for a key wherever it stands: whoever has its place after it has gone must not own its jobs."""
    return f"key-{_digest(key).hex()[:NAME_DIGITS]}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
