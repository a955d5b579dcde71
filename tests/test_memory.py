"""A request's bytes are freed with its response, without the garbage collector."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message, Scope

from serving.http.limits import Limits
from serving.model import Model
from tests.support.inprocess_service import service
from tests.support.sample_requests import FIVE, JSON, MULTIPART, PICKLE, PNG, RAW

LARGE = 2**20  # bytes
NOISE = b"\x93" * (LARGE + 1)
FORM = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n' + NOISE + b"\r\n--x--\r\n"
SENT: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "a picture": ("/predict", FIVE + NOISE, PNG, 200),
    "noise as a picture": ("/predict", NOISE, PNG, 422),
    "noise to read": ("/read", NOISE, PNG, 422),
    "noise in a form": ("/predict", FORM, MULTIPART, 422),
    "noise as a form": ("/predict", NOISE, MULTIPART, 400),
    "a form without its end": ("/predict", FORM[:-4], MULTIPART, 400),
    "a batch": ("/predict_batch?shape=1400,28,28", bytes(1400 * 784), RAW, 200),
    "raw bytes of another length": ("/predict_batch?shape=1,28,28", NOISE, RAW, 422),
    "noise as JSON": ("/predict_batch", NOISE, JSON, 400),
    "wrong JSON": ("/predict_batch", b'{"images": "' + b"7" * LARGE + b'"}', JSON, 422),
    "a pickle": ("/predict", NOISE, PICKLE, 415),
    "a body over the limit": ("/predict", NOISE * 2, PNG, 413),
    "a client that disconnects": ("/predict", NOISE, PNG, 499),
}


@pytest.fixture
def kept() -> Iterator[list[Any]]:
    """Objects that only the garbage collector would free."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def send_to(app: Any, path: str, content: bytes, headers: dict[str, str], is_complete: bool) -> int:
    """The status of the response, 0 for none."""
    path, _, query = path.partition("?")
    parts = [content[start : start + 2**19] for start in range(0, len(content), 2**19)]
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> Message:
        if not parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts) or not is_complete}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"] if sent else 0


@pytest.mark.parametrize("kind", SENT)
def test_no_response_leaves_the_requests_bytes_to_the_garbage_collector(
    model: Model, kind: str, kept: list[Any]
) -> None:
    path, content, headers, status = SENT[kind]
    app = service(model, Limits(body=2 * LARGE))

    async def ask() -> set[int]:
        answered = {await send_to(app, path, content, headers, is_complete=status != 499) for _ in range(3)}
        gc.collect()
        return answered

    assert asyncio.run(ask()) == {status}
    large = [part for found in kept for part in gc.get_referents(found) if isinstance(part, bytes | bytearray)]
    assert [len(part) for part in large if len(part) > LARGE // 4] == []
