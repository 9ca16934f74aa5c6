"""The page at `/`: plain files of `static/`, which ask nothing of any other server."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from f5_tts_server.api.services import Services

STATIC = Path(__file__).parent.parent / "static"

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    # blob: is the clip that the page offers for download and plays back
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def router(_: Services) -> APIRouter:
    """The routes of the page. Its files are known when the server starts; no path leads elsewhere."""
    routes = APIRouter(include_in_schema=False)
    files = {path.name: path for path in STATIC.iterdir() if path.suffix in _TYPES}

    @routes.get("/")
    async def page() -> Response:
        return _file(files["index.html"])

    @routes.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, f"there is no {name[:60]}")
        return _file(files[name])

    @routes.get("/favicon.ico")
    async def icon() -> Response:
        return _file(files["icon.svg"])

    return routes


def _file(path: Path) -> FileResponse:
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=_HEADERS)
