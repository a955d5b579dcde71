"""Responses as JSON."""

from typing import Any, Final

import orjson
from starlette.responses import Response

from serving.http import metrics
from serving.http.errors import Problem

CONTENT_TYPE: Final = (b"content-type", b"application/json")


class JsonResponse(Response):
    """Starlette's response, without its way of collecting headers: most have none but these two."""

    def __init__(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.status_code, self.background = status, None
        self.body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        self.raw_headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(self.body))]
        if headers:
            self.headers.update(headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JsonResponse(content, status, headers)


def problem_response(problem: Problem) -> Response:
    """The response to a refused request, which is counted in the metrics."""
    metrics.REJECTED.labels(problem.code).inc()
    return json_response(problem.content(), problem.status, problem.headers)
