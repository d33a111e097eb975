"""As much of the Hugging Face hub's HTTP API as downloading a model takes, over a directory, on this machine."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_test"

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class HubServer:
    """Repositories `tiny/model` (`tiny/gated` for holders of TOKEN alone); `given` lists the files that were read."""

    directory: Path
    url: str = ""
    given: list[str] = field(default_factory=list)

    def answer(self, path: str, token: str | None) -> Answer:
        """Status, headers and body for a path `/OWNER/NAME/WHAT/REVISION/FILE`, also below `/api/models`."""
        parts = path.partition("?")[0].removeprefix("/api/models").strip("/").split("/")
        owner, name, what, revision, *rest = parts
        if (owner, name) not in (("tiny", "model"), ("tiny", "gated")):
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if name == "gated" and token != f"Bearer {TOKEN}":
            return 401, {"X-Error-Code": "GatedRepo"}, b""
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        return self._tree() if what == "tree" else self._file("/".join(rest))

    def _tree(self) -> Answer:
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        entries = [
            {
                "type": "file",
                "path": str(path.relative_to(self.directory)),
                "size": path.stat().st_size,
                "oid": _digest(path),
            }
            for path in files
        ]
        return 200, {"Content-Type": "application/json"}, json.dumps(entries).encode()

    def _file(self, name: str) -> Answer:
        path = self.directory / name
        if not path.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{_digest(path)}"'}, path.read_bytes()


@contextmanager
def hub_server(directory: Path) -> Iterator[HubServer]:
    """Serve `directory` as the only revision of both repositories."""
    hub = HubServer(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            status, headers, body = hub.answer(self.path, self.headers["Authorization"])
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                hub.given.append(self.path.partition("main/")[2] or self.path.partition(f"{COMMIT}/")[2])
                self.wfile.write(body)

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
