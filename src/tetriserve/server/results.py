"""Finished files behind URLs that nobody can guess, for a while and within a bound of memory."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and when it goes, on the clock of the store."""

    data: bytes
    media_type: str
    expires_s: float


class ResultStore:
    """Owns the files. The oldest go first when there are too many bytes; a file of its own is always kept."""

    def __init__(self, ttl_s: float, max_bytes: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._now_s = now_s
        self._files: OrderedDict[str, StoredFile] = OrderedDict()
        self.num_bytes = 0

    def put(self, data: bytes, media_type: str) -> str:
        """Keep a file; returns its name, of 256 random bits."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._files[token] = StoredFile(data, media_type, self._now_s() + self._ttl_s)
        self.num_bytes += len(data)
        while len(self._files) > 1 and (self.num_bytes > self._max_bytes or self._oldest_has_expired()):
            self._drop(next(iter(self._files)))
        return token

    def get(self, token: str) -> StoredFile | None:
        """The file, unless it has expired or had to make room."""
        file = self._files.get(token)
        if file is not None and file.expires_s <= self._now_s():
            self._drop(token)
            return None
        return file

    def drop(self, token: str) -> None:
        """Forget a file. One that is not there is no mistake."""
        if token in self._files:
            self._drop(token)

    def _oldest_has_expired(self) -> bool:
        return next(iter(self._files.values())).expires_s <= self._now_s()

    def _drop(self, token: str) -> None:
        self.num_bytes -= len(self._files.pop(token).data)
