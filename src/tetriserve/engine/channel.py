"""The parent's end of a pipe to a worker. Neither side of it ever waits: a stopped worker must stop nobody else."""

import os
import struct
import threading
from multiprocessing.connection import Connection

READ_BYTES = 1 << 20
HEADER = struct.Struct("!i")
"""The framing of multiprocessing.connection, which the worker's end uses, for messages of less than 2 GiB."""


class Channel:
    """Messages of bytes. Any thread may send; one receives, and flushes what didn't fit into the pipe at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._received = bytearray()
        os.set_blocking(connection.fileno(), False)

    def fileno(self) -> int:
        """For whoever polls."""
        return self._connection.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether a flush is due as soon as the pipe takes more."""
        return bool(self._unsent)

    def send(self, message: bytes) -> None:
        """Raises OSError if the other side is gone."""
        with self._lock:
            self._unsent += HEADER.pack(len(message))
            self._unsent += message
            self._write()

    def flush(self) -> None:
        """Send what the pipe takes. Raises OSError if the other side is gone."""
        with self._lock:
            self._write()

    def receive(self) -> list[bytes]:
        """All messages that are there, if the channel can be read. Raises OSError or EOFError at its end."""
        try:
            read = os.read(self.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        if not read:
            raise EOFError
        self._received += read
        messages = []
        while (end := self._end_of_message()) is not None:
            with memoryview(self._received) as received:
                messages.append(bytes(received[HEADER.size : end]))
            del self._received[:end]
        return messages

    def close(self) -> None:
        """The other side reads the end of the pipe."""
        with self._lock:
            self._unsent.clear()
            self._connection.close()

    def _end_of_message(self) -> int | None:
        if len(self._received) < HEADER.size:
            return None
        end = HEADER.size + int(HEADER.unpack_from(self._received)[0])
        return end if len(self._received) >= end else None

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self.fileno(), self._unsent)]
        except BlockingIOError:
            return
