"""The web application: routes, errors as JSON, and the files of the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import xxhash
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from unmask.atomic import save_error
from unmask.errors import SaveError, UnmaskError
from unmask.recipe_text import describe_wrong
from unmask.serve.guard import Access, Application, Guard
from unmask.serve.refusal import RefusedError, missing
from unmask.serve.routes import images, jobs, labels, results
from unmask.serve.site import Site

PAGE = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
# Bytes of a request that is not labels or an image.
_JSON = 2**22


def make_app(site: Site, access: Access) -> Application:
    """The application behind its guard.

    Args:
        site: what is served.
        access: who may talk to it.
    """
    # No documentation pages: they load scripts from elsewhere.
    pages: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
    kind = _make_discreet(site.workspace.root) if site.demo else JSONResponse
    app = FastAPI(**pages, default_response_class=kind, max_body_size=_JSON)
    app.state.site = site
    for module in (images, labels, jobs, results):
        app.include_router(module.router)
    for error, describe in (
        (UnmaskError, _on_error),
        (OSError, _on_disk),
        (RequestValidationError, _on_request),
    ):
        app.add_exception_handler(error, partial(_answer, kind, describe))
    _serve_page(app)
    return Guard(app, access)


def _make_discreet(root: Path) -> type[JSONResponse]:
    """Answers of a public page, which name the folder but not where it is on the server."""
    path, name = (json.dumps(each, ensure_ascii=False)[1:-1] for each in (str(root), root.name))

    class Discreet(JSONResponse):
        def render(self, content: Any) -> bytes:
            return super().render(content).replace(path.encode(), name.encode())

    return Discreet


def _serve_page(app: FastAPI) -> None:
    """Serve the files of the page from memory, under addresses that change with their content.

    A browser that comes again asks for the first file only, which matters through an SSH tunnel.
    """
    files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in _TYPES}
    mark = xxhash.xxh3_64_hexdigest(b"".join(files[name] for name in sorted(files)))
    start = files["index.html"].replace(b'"/page/', f'"/page/{mark}/'.encode())

    @app.get("/")
    async def index() -> Response:
        return Response(start, media_type="text/html", headers={"cache-control": "no-cache"})

    @app.get("/page/{name}")
    @app.get("/page/{version}/{name}")
    async def page(name: str, version: str = "") -> Response:
        if name not in files:
            raise missing("file")
        keep = "max-age=31536000, immutable" if version == mark else "no-cache"
        kind = _TYPES[Path(name).suffix]
        return Response(files[name], media_type=kind, headers={"cache-control": keep})


def _answer(
    kind: type[JSONResponse],
    describe: Callable[[Any], tuple[dict[str, Any], int]],
    _: Request,
    error: Exception,
) -> JSONResponse:
    content, status = describe(error)
    return kind(content, status)


def _on_error(error: Any) -> tuple[dict[str, Any], int]:
    if isinstance(error, RefusedError):
        return {"error": str(error), **error.facts}, error.status
    # 507 Insufficient Storage: the page keeps the change and tries again.
    return {"error": str(error)}, 507 if isinstance(error, SaveError) else 422


def _on_disk(error: Any) -> tuple[dict[str, Any], int]:
    found = save_error(error.filename or "A file", error)
    return {"error": str(found)}, 507


def _on_request(error: Any) -> tuple[dict[str, Any], int]:
    lines = [
        f"{'.'.join(map(str, each['loc']))}: {describe_wrong(each)}" for each in error.errors()
    ]
    return {"error": "; ".join(lines)}, 400
