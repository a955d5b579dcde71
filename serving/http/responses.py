"""Responses as JSON."""

from typing import Any

import orjson
from starlette.responses import Response

from serving.http import metrics
from serving.http.errors import Problem


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status, headers, "application/json")


def problem_response(problem: Problem) -> Response:
    """The response to a refused request, which is counted in the metrics."""
    metrics.REJECTED.labels(problem.code).inc()
    return json_response(problem.content(), problem.status, problem.headers)
