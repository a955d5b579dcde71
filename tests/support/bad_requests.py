"""Kinds of bad requests to the service, made by hypothesis, each with the statuses that it may get."""

import json
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from serving.http.parsing import PICTURE_TYPES
from tests.support.synthetic_digits import pictures

Headers = dict[str, str]
PNG: Final[Headers] = {"content-type": "image/png"}
JSON: Final[Headers] = {"content-type": "application/json"}
RAW: Final[Headers] = {"content-type": "application/octet-stream"}
MULTIPART: Final[Headers] = {"content-type": "multipart/form-data; boundary=abc"}
REAL: Final = [content for _, content in sorted(pictures(11).items())]
REAL_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


class Request(NamedTuple):
    method: str
    path: str
    headers: Headers
    content: bytes


class Kind(NamedTuple):
    requests: st.SearchStrategy[Request]
    statuses: set[int]


def posts(path: str, headers: Headers, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Request]:
    return content.map(lambda content: Request("POST", path, headers, content))


def listed(pixel: st.SearchStrategy[Any], rows: int = 28, columns: int = 28) -> st.SearchStrategy[bytes]:
    """A batch of one image in JSON, all of its pixels 0 but one."""

    def batch(parts: tuple[Any, int, int]) -> bytes:
        value, row, column = parts
        image = [[0] * columns for _ in range(rows)]
        if rows and columns:
            image[row % rows][column % columns] = value
        return json.dumps({"images": [image]}).encode()

    return st.tuples(pixel, st.integers(0, 27), st.integers(0, 27)).map(batch)


def changed(content: bytes, places: list[tuple[float, int]]) -> bytes:
    """Some bytes replaced, each at a position given as a share of the length."""
    found = bytearray(content)
    for share, value in places:
        found[int(share * (len(found) - 1))] = value
    return bytes(found)


def form(
    content: bytes, name: str = "picture", media_type: str = "image/png", file: str = '; filename="a.png"'
) -> bytes:
    head = f'--abc\r\nContent-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {media_type}\r\n\r\n'
    return head.encode() + content + b"\r\n--abc--\r\n"


def scans(content: bytes) -> tuple[bytes, bytes] | None:
    """A JPEG up to its last scan, and that scan; None if the file is no JPEG."""
    head, marker, scan = content.rpartition(b"\xff\xda")
    return (head, marker + scan[:-2]) if marker and content.startswith(b"\xff\xd8") else None


BYTES = st.binary(max_size=2000)
SHARES = st.floats(0, 1, exclude_max=True)
PLACES = st.lists(st.tuples(SHARES, st.integers(0, 255)), min_size=1, max_size=20)
TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-+./*", min_size=1, max_size=30)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
SHAPES = [(27, 28), (28, 27), (56, 28), (28, 56), (0, 28), (28, 0), (1, 784), (784, 1), (29, 29), (14, 56)]
FOREIGN = [
    b"II*\0",
    b"MM\0*",
    b"8BPS",
    b"%!PS-Adobe-3.0 EPSF",
    b"%PDF-1.7",
    b"<svg xmlns='http://www.w3.org/2000/svg'>",
    b"\0\0\1\0",
    b"P6 9 9 255\n",
    b"\x0a\x05\x01\x08",
    b"DDS ",
    b"icns",
    b"\0\0\0\x0cjP  ",
    b"SIMPLE  =",
    b"GRIB",
]
PICKLES = ["application/vnd.bentoml+pickle", "application/x-pickle", "application/python-pickle", "text/pickle"]
CHARSETS = ["punycode", "idna", "undefined", "rot13", "hex", "zip", "utf-16", "utf-7", "latin-1", "none of them"]
NEGATIVE = b"[" + b",".join([b"[" + b",".join([b"-1"] * 28) + b"]"] * 28) + b"]"  # an image
SMALL_PARTS = [b"[]", b"0", b'""', b'{"":0}', b"null", b"[[]]", NEGATIVE]
SCANS = next(content for content in map(scans, REAL) if content)
REFUSED_PICTURE = {422}
MAYBE_PICTURE = {200, 422}

KINDS: Final[dict[str, Kind]] = {
    "noise as a picture": Kind(
        st.tuples(st.sampled_from(PICTURE_TYPES), st.binary(min_size=1, max_size=3000)).map(
            lambda parts: Request("POST", "/predict", {"content-type": parts[0]}, parts[1])
        ),
        REFUSED_PICTURE,
    ),
    "noise to read": Kind(posts("/read", PNG, st.binary(min_size=1, max_size=3000)), REFUSED_PICTURE),
    "half a picture": Kind(
        posts(
            "/predict",
            RAW,
            st.tuples(st.sampled_from(REAL), SHARES).map(lambda p: p[0][: 1 + int(p[1] * 0.9 * len(p[0]))]),
        ),
        MAYBE_PICTURE,
    ),
    "a damaged picture": Kind(
        posts("/predict", RAW, st.tuples(st.sampled_from(REAL), PLACES).map(lambda p: changed(*p))), MAYBE_PICTURE
    ),
    "a damaged picture to read": Kind(
        posts("/read", RAW, st.tuples(st.sampled_from(REAL), PLACES).map(lambda p: changed(*p))), MAYBE_PICTURE
    ),
    "a bomb": Kind(
        posts(
            "/predict",
            PNG,
            st.tuples(st.integers(6000, 2**31 - 1), st.integers(6000, 2**31 - 1)).map(
                lambda sides: (
                    REAL_PNG_HEAD + sides[0].to_bytes(4, "big") + sides[1].to_bytes(4, "big") + b"\x08\2\0\0\0"
                )
            ),
        ),
        REFUSED_PICTURE,
    ),
    "an unsupported format": Kind(
        posts("/predict", RAW, st.tuples(st.sampled_from(FOREIGN), BYTES).map(lambda p: p[0] + p[1])), REFUSED_PICTURE
    ),
    "nothing": Kind(st.sampled_from(("/predict", "/read")).map(lambda path: Request("POST", path, PNG, b"")), {400}),
    "an unknown content type": Kind(
        st.tuples(TOKENS, BYTES).map(lambda p: Request("POST", "/predict", {"content-type": f"x-{p[0]}"}, p[1])), {415}
    ),
    "a batch in a wrong type": Kind(
        st.tuples(TOKENS, BYTES).map(lambda p: Request("POST", "/predict_batch", {"content-type": f"x-{p[0]}"}, p[1])),
        {415},
    ),
    "a pickle": Kind(
        st.tuples(st.sampled_from(PICKLES), st.sampled_from(("/predict", "/read", "/predict_batch", "/")), BYTES).map(
            lambda p: Request("POST", p[1], {"content-type": p[0]}, p[2])
        ),
        {415},
    ),
    "compressed content": Kind(
        st.tuples(TOKENS, BYTES).map(
            lambda p: Request("POST", "/predict", PNG | {"content-encoding": f"x{p[0]}"}, p[1])
        ),
        {415},
    ),
    "noise as a form": Kind(posts("/predict", MULTIPART, BYTES), {400}),
    "a damaged form": Kind(
        posts("/predict", MULTIPART, PLACES.map(lambda places: changed(form(REAL[0]), places))), {200, 400, 415, 422}
    ),
    "a form in a charset of the client's": Kind(
        st.sampled_from(CHARSETS).flatmap(
            lambda name: posts(
                "/predict",
                {"content-type": f"{MULTIPART['content-type']}; charset={name}"},
                BYTES.map(lambda content: form(content)),
            )
        ),
        {400},
    ),
    "a JPEG of too many scans": Kind(
        posts("/predict", RAW, st.integers(50, 1000).map(lambda n: SCANS[0] + SCANS[1] * n + b"\xff\xd9")),
        REFUSED_PICTURE,
    ),
    "half a form": Kind(
        posts("/predict", MULTIPART, SHARES.map(lambda s: form(REAL[0])[: int(s * len(form(REAL[0])) * 0.99)])), {400}
    ),
    "a form without a file": Kind(posts("/predict", MULTIPART, BYTES.map(lambda b: form(b, file=""))), {400}),
    "a form with a foreign file": Kind(
        posts("/predict", MULTIPART, st.tuples(BYTES, TOKENS).map(lambda p: form(p[0], media_type=f"x-{p[1]}"))), {415}
    ),
    "a form with noise in it": Kind(posts("/read", MULTIPART, st.binary(min_size=1).map(form)), {400, 422}),
    "a form with no boundary": Kind(posts("/predict", {"content-type": "multipart/form-data"}, BYTES), {400}),
    "any JSON": Kind(posts("/predict_batch", JSON, JSONS.map(lambda value: json.dumps(value).encode())), {400, 422}),
    "any images": Kind(
        posts("/predict_batch", JSON, JSONS.map(lambda value: json.dumps({"images": value}).encode())), {400, 422}
    ),
    "not JSON": Kind(posts("/predict_batch", JSON, BYTES), {400, 422}),
    "deep JSON": Kind(
        posts("/predict_batch", JSON, st.integers(200, 50_000).map(lambda depth: b'{"images":' + b"[" * depth)), {400}
    ),
    "long numbers": Kind(
        posts("/predict_batch", JSON, st.integers(20, 20_000).map(lambda n: b'{"images":[[[' + b"9" * n + b"]]]}")),
        {400, 422},
    ),
    "lists of too many things": Kind(
        posts(
            "/predict_batch",
            JSON,
            st.tuples(st.sampled_from(SMALL_PARTS), st.integers(2000, 500_000)).map(
                lambda p: b'{"images":[' + b",".join([p[0]] * (p[1] // len(p[0]) + 1)) + b"]}"
            ),
        ),
        {422},
    ),
    "too many keys": Kind(
        posts(
            "/predict_batch",
            JSON,
            st.integers(2, 20_000).map(lambda n: b"{" + b",".join(b'"%d":0' % i for i in range(n)) + b"}"),
        ),
        {422},
    ),
    "pixels out of range": Kind(
        posts("/predict_batch", JSON, listed(st.integers(max_value=-1) | st.integers(min_value=256))), {422}
    ),
    "fractions": Kind(
        posts("/predict_batch", JSON, listed(st.floats(0.001, 254.999).filter(lambda x: x % 1 > 0))), {422}
    ),
    "not numbers": Kind(
        posts("/predict_batch", JSON, listed(st.sampled_from([float("nan"), float("inf"), None, True, "7", [], {}]))),
        {400, 422},
    ),
    "wrong shapes": Kind(
        st.sampled_from(SHAPES).flatmap(lambda sides: posts("/predict_batch", JSON, listed(st.just(0), *sides))), {422}
    ),
    "raw bytes of another length": Kind(
        posts("/predict_batch?shape=1,28,28", RAW, st.binary(max_size=1600).filter(lambda b: len(b) != 784)), {422}
    ),
    "raw bytes of another shape": Kind(
        st.tuples(TOKENS, BYTES).map(
            lambda p: Request("POST", f"/predict_batch?shape={p[0].replace('+', '')}", RAW, p[1])
        ),
        {400},
    ),
    "raw bytes of no shape": Kind(posts("/predict_batch", RAW, BYTES), {400}),
    "a wrong flag": Kind(TOKENS.map(lambda t: Request("POST", f"/predict?seen=x{t}", PNG, REAL[0])), {400}),
    "an unknown path": Kind(
        st.tuples(st.sampled_from(("GET", "POST")), TOKENS).map(lambda p: Request(p[0], f"/x{p[1]}", {}, b"")), {404}
    ),
    "a path out of the page's folder": Kind(
        st.tuples(
            st.sampled_from(("/page/", "/static_content/")),
            st.lists(st.sampled_from(("..", "%2e%2e", "%00", "~", "a")), min_size=1),
        ).map(lambda p: Request("GET", p[0] + "/".join(p[1]) + "/service.py", {}, b"")),
        {404},
    ),
    "a part of a file": Kind(
        st.tuples(st.sampled_from(("/", "/docs", "/page/page.css")), TOKENS).map(
            lambda p: Request("GET", p[0], {"range": p[1].replace("+", "bytes=")}, b"")
        ),
        {200},
    ),
    "another method": Kind(
        st.tuples(
            st.sampled_from(("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")),
            st.sampled_from(("/predict", "/read", "/predict_batch")),
        ).map(lambda p: Request(p[0], p[1], {}, b"")),
        {405},
    ),
}
