"""A small image server that is not ours: OpenAI's shape and not a field more, in the style of vLLM-Omni and SGLang."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Foreign:
    """What it was asked, and how it behaves. `statuses` and `delays_s` are by seed; a status of 0 hangs up."""

    statuses: dict[int, int] = field(default_factory=dict)
    delays_s: dict[int, float] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    num_unhealthy: int = 0
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    @contextmanager
    def working(self) -> Iterator[None]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1


def make_handler(foreign: Foreign) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/health":
                foreign.num_unhealthy -= 1
                self.answer(503 if foreign.num_unhealthy >= 0 else 200, b"")
            elif self.path == "/v1/models":
                self.answer(200, json.dumps({"object": "list", "data": [{"id": "black-forest-labs/FLUX.1"}]}).encode())
            else:
                self.answer(404, b"not found")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with foreign.working():
                foreign.bodies.append(body)
                foreign.headers.append(dict(self.headers))
                time.sleep(foreign.delays_s.get(body["seed"], 0.0))
            status = foreign.statuses.get(body["seed"], 200)
            if status == 0:
                self.close_connection = True
            elif status == 200:
                self.answer(200, json.dumps({"created": 1, "data": [{"b64_json": "aGk="}]}).encode())
            elif status == 204:
                self.answer(200, b'{"created": 1, "data": []}')
            else:
                self.answer(status, json.dumps({"detail": "too many"}).encode())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def foreign_server() -> Iterator[Foreign]:
    foreign = Foreign()
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(foreign))
    foreign.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield foreign
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
