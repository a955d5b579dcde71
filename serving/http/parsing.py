"""Parses and validates what a client sent: content types, multipart forms, JSON, raw pixels."""

import math
import reprlib
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Final, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, FailFast, TypeAdapter, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from pipeline.data.limits import COLOURS, FORMATS, SIDE, image_shape
from serving.http.errors import Problem, unexpected
from serving.http.limits import MAX_BATCH, MAX_BODY, MAX_JSON

PIXELS: Final = SIDE * SIDE
MULTIPART: Final = "multipart/form-data"
RAW: Final = "application/octet-stream"
JSON: Final = "application/json"
PICTURES: Final = tuple(f"image/{name.lower()}" for name in FORMATS)
# Other names of the same formats: from Windows' registry (.jfif), libmagic, nginx's table, Internet Explorer, Citrix,
# and programs that derive the type from a file's extension. The format itself is detected from the bytes.
ALIASES: Final = (
    "image/jpg", "image/pjpeg", "image/x-jpeg", "image/x-jpg", "image/x-citrix-jpeg", "image/x-png",
    "image/x-citrix-png", "image/x-bmp", "image/x-ms-bmp", "image/x-windows-bmp", "image/x-win-bitmap", "image/x-gif",
    "image/x-citrix-gif", "image/x-webp",
)  # fmt: skip
PICTURE_TYPES: Final = (*PICTURES, *ALIASES, RAW)

Images = npt.NDArray[np.uint8]
Pixel = TypeVar("Pixel")
# 28 rows of 28 whole numbers, 0 = paper, 255 = ink. Fails at the first error: a million errors take gigabytes.
Row = Annotated[list[Pixel], FailFast(), Len(SIDE, SIDE)]
Image = Annotated[list[Row[Pixel]], FailFast(), Len(SIDE, SIDE)]
Batch = Annotated[list[Image[Pixel]], FailFast(), Len(1, MAX_BATCH)]
Colour = Annotated[list[Pixel], FailFast(), Len(COLOURS, COLOURS)]  # red, green and blue, in place of one number
Level = Annotated[int, Ge(0), Le(255)]
STRICT: Final = ConfigDict(strict=True)
WHOLE_NUMBERS: Final = TypeAdapter(Batch[int], config=STRICT)
PIXEL_VALUES: Final = TypeAdapter(Batch[Level], config=STRICT)  # takes three times as long
WHOLE_COLOURS: Final = TypeAdapter(Batch[Colour[int]], config=STRICT)
COLOUR_VALUES: Final = TypeAdapter(Batch[Colour[Level]], config=STRICT)


def content_type(request: Request) -> str:
    """The media type of the body, `application/octet-stream` without a header.

    Raises Problem for a content encoding: compressed bodies are not accepted.
    """
    types, encodings = [], []
    for name, value in request.scope["headers"]:  # once, in place of a search in Starlette's Headers for each name
        if name == b"content-type":
            types.append(value.decode("latin-1"))
        elif name == b"content-encoding":
            encodings.append(value.decode("latin-1"))
    if encodings and (encoding := ", ".join(encodings)).strip().lower() != "identity":
        raise unexpected("unsupported_media_type", f"content-encoding {encoding!r}", "none")
    return types[0].partition(";")[0].strip().lower() if types else RAW


async def body(request: Request) -> bytes:
    """The whole body, most often one message: Starlette starts a generator for it. Raises ClientDisconnect."""
    parts = []
    while (message := await request.receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
    raise ClientDisconnect


def refuse(media_type: str, expected: tuple[str, ...]) -> NoReturn:
    raise unexpected("unsupported_media_type", f"content type {media_type!r}", " or ".join(expected))


async def picture_upload(request: Request) -> tuple[bytes, bool]:
    """The picture file, which is the body or its only file part, and the flag `seen`. Raises Problem."""
    seen = flag(request.query_params.get("seen", "false"), "seen")
    media_type = content_type(request)
    if media_type == MULTIPART:
        content, field = await _form(request)
        seen = seen or flag(field, "seen")
    elif media_type in PICTURE_TYPES:
        content = await body(request)
    else:
        refuse(media_type, (MULTIPART, *PICTURES, RAW))
    if not content:
        raise unexpected("no_content", "0 bytes", "a picture file")
    return content, seen


async def _form(request: Request) -> tuple[bytes, str]:
    """The content of the form's only file, and the field `seen`, `false` if there is none."""
    content = await request.body()
    _, options = parse_options_header(request.headers["content-type"])
    # Starlette accepts a truncated form, and any charset that the client names.
    ending = b"--" + options.get(b"boundary", b"") + b"--"
    if ending == b"----" or ending not in content:
        raise unexpected("malformed_multipart", f"{len(content)} bytes", "parts, the last followed by --boundary--")
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() != "utf-8":
        raise unexpected("malformed_multipart", f"charset {charset[:100]!r}", "utf-8")
    try:
        async with request.form(max_files=1, max_fields=8, max_part_size=2**16) as form:
            return await _only_file(form), str(form.get("seen", "false"))
    except (HTTPException, MultiPartException) as error:
        message = error.detail if isinstance(error, HTTPException) else error.message
        raise Problem("malformed_multipart", f"the multipart body cannot be parsed: {message}") from error


async def _only_file(form: FormData) -> bytes:
    files = [part for part in form.values() if isinstance(part, UploadFile)]
    if not files:
        names = ", ".join(map(repr, form)) or "none"
        raise unexpected("missing_part", f"form fields {names} and no file", "one file part, e.g. named 'picture'")
    media_type = (files[0].content_type or RAW).partition(";")[0].strip().lower()
    if media_type not in PICTURE_TYPES:
        refuse(media_type, (*PICTURES, RAW))
    return await files[0].read()


def expected_images(channels: int) -> str:
    sides = " ".join(f"lists of {side}" for side in image_shape(channels))
    return f"images: 1 to {MAX_BATCH} {sides} whole numbers from 0 to 255"


async def image_batch(request: Request, channels: int) -> tuple[int, Callable[[], Images]]:
    """The length of the body, and a function that parses it: `(N, 28, 28) uint8` or, of three channels,
    `(N, 28, 28, 3)`, N from 1 to MAX_BATCH.

    Both raise Problem.
    """
    media_type = content_type(request)
    if media_type not in (JSON, RAW):
        refuse(media_type, (JSON, RAW))
    content = await body(request)
    if media_type == JSON:
        return len(content), partial(json_images, content, channels)
    return len(content), partial(raw_images, content, shape_in(request.scope["query_string"]), channels)


@lru_cache(maxsize=64)
def shape_in(query: bytes) -> str | None:
    """The parameter `shape` of a query string; the same few are sent again and again."""
    return QueryParams(query).get("shape")


def raw_images(content: bytes, shape: str | None, channels: int = 1) -> Images:
    """Pixels row by row. `shape` is `N,28,28` or `N,28,28,3`, from the client: bytes alone do not
    distinguish two images from one of twice the height."""
    of_image = image_shape(channels)
    count, *sides = (shape or "").split(",")
    is_count = count.isascii() and count.isdigit() and len(count) <= len(str(MAX_BATCH))
    if not is_count or sides != list(map(str, of_image)) or not 1 <= int(count) <= MAX_BATCH:
        expected = f"shape={','.join(('N', *map(str, of_image)))} with N from 1 to {MAX_BATCH}"
        raise unexpected("bad_query", f"shape={shape}" if shape else "no shape in the query", expected)
    if len(content) != int(count) * math.prod(of_image):
        expected = f"{int(count) * math.prod(of_image)} bytes of uint8 for shape {shape}"
        raise unexpected("wrong_shape", f"{len(content)} bytes", expected)
    return np.frombuffer(content, np.uint8).reshape(-1, *of_image)


def json_images(content: bytes, channels: int = 1) -> Images:
    """The images in `{"images": [...]}`, which may have no other key."""
    if len(content) > MAX_JSON:
        expected = f"at most {MAX_JSON} bytes of JSON; raw bytes may be {MAX_BODY}"
        raise unexpected("body_too_large", f"{len(content)} bytes of JSON", expected)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed_json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict) or body.keys() != {"images"}:
        got = f"an object with {reprlib.repr(list(body))}" if isinstance(body, dict) else type(body).__name__
        raise unexpected("wrong_value", got, "an object with 'images' and nothing else")
    return listed_images(body["images"], channels)


def listed_images(value: object, channels: int = 1) -> Images:
    """`(N, 28, 28) uint8` or, of three channels, `(N, 28, 28, 3)`, of nested lists of whole numbers. Nothing is cast,
    clipped or reshaped. Raises Problem."""
    try:
        if channels == COLOURS:
            pictures = WHOLE_COLOURS.validate_python(value)
            pixels = b"".join([bytes(colour) for picture in pictures for row in picture for colour in row])
        else:
            images = WHOLE_NUMBERS.validate_python(value)
            pixels = b"".join([bytes(row) for image in images for row in image])
    except ValueError:  # pydantic's, or that of bytes() for a number that is no byte; which pixel it is, pydantic says
        try:
            (COLOUR_VALUES if channels == COLOURS else PIXEL_VALUES).validate_python(value)
        except ValidationError as error:
            raise _json_problem(error, channels) from error
        raise
    return np.frombuffer(pixels, np.uint8).reshape(-1, *image_shape(channels))


def _json_problem(error: ValidationError, channels: int) -> Problem:
    first = error.errors(include_url=False, include_context=False)[0]
    location = "".join(f"[{part}]" for part in first["loc"])
    code = "wrong_shape" if first["type"] in ("too_short", "too_long") else "wrong_value"
    return Problem(
        code, f"images{location}: {first['msg']}", got=reprlib.repr(first["input"]), expected=expected_images(channels)
    )


def flag(value: str, name: str) -> bool:
    """The value of a parameter that is `true` or `false`. Raises Problem."""
    if value not in ("true", "false"):
        raise unexpected("bad_query", f"{name}={value[:100]}", f"{name}=true or {name}=false")
    return value == "true"
