"""What a browser loads: the page, Swagger's page for the API, and their files.

Every URL in them is relative: they work at a host's root and behind a proxy that strips a prefix such as `/digits/`.
`docs/` would be one folder deeper than `docs`, so it redirects there.
"""

from pathlib import Path
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from pipeline.data.limits import MAX_ASPECT, MAX_JPEG_PIXELS, MAX_PIXELS, MAX_WEBP_PIXELS, MIN_SIDE
from serving.http.errors import unexpected
from serving.http.headers import DOCS, PAGE
from serving.http.limits import MAX_BODY
from serving.http.parsing import PICTURES

FILES: Final = StaticFiles(directory=Path(__file__).parents[1] / "page")
FOLDER: Final = "page/"
PAGES: Final = {"/": ("page/index.html", PAGE), "/docs": ("page/docs.html", DOCS)}
REDIRECTS: Final = {"/docs/": "../docs"}
GET: Final = ("GET", "HEAD")
LIMITS: Final[dict[str, Any]] = {
    "max_bytes": MAX_BODY,
    "max_pixels": dict.fromkeys(PICTURES, MAX_PIXELS) | {"image/jpeg": MAX_JPEG_PIXELS, "image/webp": MAX_WEBP_PIXELS},
    "min_side": MIN_SIDE,
    "max_aspect": MAX_ASPECT,
}
MODULES: Final = {"page/limits.js": b"export default " + orjson.dumps(LIMITS) + b";\n"}


async def page_file(request: Request) -> Response:
    """The page or file at this path, whole. Raises Problem if there is none."""
    path: str = request.scope["path"]
    name, headers = PAGES.get(path, (path.removeprefix("/"), ()))
    is_page_elsewhere = name.endswith(".html") and path not in PAGES  # its relative URLs would be wrong
    if path not in REDIRECTS and (not name.startswith(FOLDER) or is_page_elsewhere):
        raise not_found(path)
    if request.method not in GET:
        raise unexpected("method_not_allowed", f"method {request.method}", ", ".join(GET))
    if path in REDIRECTS:
        return Response(status_code=307, headers={"Location": REDIRECTS[path]})
    if name in MODULES:
        return Response(MODULES[name], media_type="text/javascript")
    request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    try:
        response = await FILES.get_response(name.removeprefix(FOLDER), request.scope)
    except HTTPException as error:
        raise not_found(path) from error
    response.raw_headers.extend(headers)
    return response


def not_found(path: str) -> Exception:
    return unexpected("not_found", f"path {path[:100]!r}", "a path that /docs lists")
