"""`/`, `/docs` and the files they consist of. All are read once, so no path comes from a request to the file system."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files as files_of
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathPart

from tetriserve.core.errors import InvalidRequestError

PAGE_DIR = Path(__file__).parent / "page"
INDEX = "index.html"
DOCS = "docs.html"
SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")
"""Of the package fastapi-offline: FastAPI's own page loads them from another host."""
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Everything comes from this server; images may also come from the page itself."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file as it is sent. `tag` changes with its content."""

    data: bytes
    media_type: str
    tag: str


def page_routes() -> APIRouter:
    """The routes; they need no key, and tell nothing. They are no part of the described API."""
    router = APIRouter(include_in_schema=False)
    files = _files()

    @router.get("/")
    async def index(request: Request) -> Response:
        """The page."""
        return _answer(files[INDEX], request)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        """The API's description for people."""
        return _answer(files[DOCS], request)

    @router.get("/page/{name}")
    async def file(request: Request, name: Annotated[str, PathPart(max_length=64)]) -> Response:
        """A file of the pages."""
        if name not in files:
            raise InvalidRequestError(f"the page has no file {name!r}", "name", "file_not_found")
        return _answer(files[name], request)

    return router


def _files() -> dict[str, PageFile]:
    own = [path for path in sorted(PAGE_DIR.iterdir()) if path.suffix in MEDIA_TYPES]
    static = files_of("fastapi_offline") / "static"
    return {path.name: _file(path) for path in (*own, *(static / name for name in SWAGGER_UI))}


def _file(path: Traversable) -> PageFile:
    data = path.read_bytes()
    return PageFile(data, MEDIA_TYPES[Path(path.name).suffix], f'"{hashlib.sha256(data).hexdigest()[:16]}"')


def _answer(file: PageFile, request: Request) -> Response:
    """Browsers ask every time, and get it only if it has changed: a new version is never shown in parts."""
    headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.data, headers=headers, media_type=file.media_type)
