"""Error responses: every refused request gets a Problem, which is JSON of one schema."""

from types import MappingProxyType
from typing import Final

from pipeline.core.errors import PictureError

STATUS: Final = MappingProxyType(
    {
        "bad_query": 400,
        "malformed_json": 400,
        "malformed_request": 400,
        "malformed_multipart": 400,
        "missing_part": 400,
        "no_content": 400,
        "not_found": 404,
        "method_not_allowed": 405,
        "slow_body": 408,
        "slow_head": 408,
        "not_digits": 409,
        "body_too_large": 413,
        "unsupported_media_type": 415,
        "animated_picture": 422,
        "damaged_picture": 422,
        "more_than_one_line": 422,
        "not_a_picture": 422,
        "picture_size": 422,
        "too_many_digits": 422,
        "wrong_shape": 422,
        "wrong_value": 422,
        "overloaded": 429,
        "too_many_corrections": 429,
        "head_too_large": 431,
        "internal_error": 500,
        "not_ready": 503,
        "corrections_full": 507,
    }
)


class Problem(Exception):
    """A refusal: `code` is a key of STATUS, `message` a sentence; `got` and `expected` are optional."""

    def __init__(self, code: str, message: str, *, got: str | None = None, expected: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.got = got
        self.expected = expected

    @property
    def status(self) -> int:
        return STATUS[self.code]

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that a client needs to act on the refusal."""
        headers = {}
        if self.code == "method_not_allowed":
            headers["Allow"] = self.expected or ""
        if self.code == "overloaded":
            headers["Retry-After"] = "1"
        if self.code == "too_many_corrections":
            headers["Retry-After"] = "60"
        if self.code in ("overloaded", "body_too_large"):
            headers["Connection"] = "close"  # without waiting for the rest of the body
        return headers

    def content(self) -> dict[str, str]:
        """The JSON body: `code` and `message`, and `got` and `expected` if they are known."""
        details = {"got": self.got, "expected": self.expected}
        return {"code": self.code, "message": str(self)} | {k: v for k, v in details.items() if v is not None}


def unexpected(code: str, got: str, expected: str) -> Problem:
    return Problem(code, f"got {got}, expected {expected}", got=got, expected=expected)


def to_problem(error: PictureError) -> Problem:
    return Problem(error.code, str(error), got=error.got, expected=error.expected)
