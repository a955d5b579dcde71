"""Cross-origin requests (CORS), as configured by BentoML's setting `http.cors`.

BentoML puts its CORS middleware behind the service's middlewares, whose error responses would lack the headers. So the
same one is put in front, with the settings that BentoML has computed; no public function returns these.
"""

from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp


def cors_settings() -> dict[str, Any] | None:
    """Arguments for CORSMiddleware, None if `http.cors` is not enabled; of the service that is loaded."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    if not BentoMLContainer.http.cors.enabled.get():
        return None
    settings: dict[str, Any] = dict(BentoMLContainer.access_control_options.get())
    for name in ("allow_methods", "expose_headers"):  # BentoML accepts a single string here, Starlette does not
        if isinstance(settings.get(name), str):
            settings[name] = [settings[name]]
    return settings


def with_cors(app: ASGIApp, settings: dict[str, Any] | None) -> ASGIApp:
    """`app` behind CORSMiddleware; `app` itself without settings."""
    return app if settings is None else CORSMiddleware(app, **settings)
