"""Headers and bodies of requests to the service."""

import io
import json
from typing import Any

import numpy as np
from PIL import Image

from tests.support.pictures import encoded, ink, on_paper

PNG = {"content-type": "image/png"}
RAW = {"content-type": "application/octet-stream"}
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
UNBOUND = {"content-type": "multipart/form-data"}
PICKLE = {"content-type": "application/vnd.bentoml+pickle"}
FIVE = encoded(on_paper(ink()))
BLANK = encoded(np.full((100, 100), 255, np.uint8))


def image_list(*sides: int, value: Any = 0) -> Any:
    return [image_list(*sides[1:], value=value) for _ in range(sides[0])] if sides else value


def batch_of(images: Any) -> bytes:
    return json.dumps({"images": images}).encode()


def gif(frames: int) -> bytes:
    pages = [Image.fromarray(on_paper(ink(left=10 * frame))) for frame in range(frames)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()
