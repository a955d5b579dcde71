"""What uvicorn alone costs: an application that reads the body and always sends the same response.
`uvicorn benchmarks.empty_baseline:app`."""

from starlette.types import Receive, Scope, Send

ANSWER = b'{"digits":[7]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
