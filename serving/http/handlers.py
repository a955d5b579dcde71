"""From images to answers, the JSON of the responses. No HTTP, no metrics."""

import base64
import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.image import extract_ink, open_picture, preprocess
from serving.http.errors import Problem, to_problem
from serving.model import Images, Model
from serving.rows import reader

TOP_CLASS: Final = ("digit", "class", "confidence", "probabilities")


def predict(model: Model, content: bytes, seen: bool) -> dict[str, Any]:
    """The answer of `/predict` (schemas.Prediction); with `seen` also the image that the model saw.

    A blank picture has `is_blank` and no digit. Raises Problem.
    """
    try:
        image = preprocess(content)
    except PictureError as error:
        if error.code == "blank_page":
            return {"model": model.tag, "is_blank": True} | dict.fromkeys(TOP_CLASS)
        raise to_problem(error) from error
    (probabilities,), _ = model.classify(image[None])
    answer = {"model": model.tag, "is_blank": False, **top_class(model, probabilities)}
    return answer | {"seen": png_data_url(image)} if seen else answer


def read(model: Model, content: bytes, seen: bool) -> dict[str, Any]:
    """The answer of `/read` (schemas.Reading): the digits from left to right, each with its box as shares of the
    picture's sides.

    Raises Problem, also for a model of anything but digits.
    """
    if not model.classifies_digits:
        raise Problem("not_digits", f"the model {model.tag} classifies {', '.join(model.classes)}, not digits")
    try:
        ink = extract_ink(open_picture(content))
        found = reader.read_row(model, ink)
    except PictureError as error:
        if error.code == "blank_page":
            return {"model": model.tag, "is_blank": True, "text": "", "digits": []}
        raise to_problem(error) from error
    height, width = ink.shape
    digits = []
    for digit in found:
        left, top, right, bottom = digit.box
        box = {
            "left": left / width,
            "top": top / height,
            "width": (right - left) / width,
            "height": (bottom - top) / height,
        }
        answer = top_class(model, digit.probabilities) | {"box": box}
        digits.append(answer | {"seen": png_data_url(digit.image)} if seen else answer)
    text = "".join(str(digit["digit"]) for digit in digits)
    return {"model": model.tag, "is_blank": False, "text": text, "digits": digits}


def predict_batch(model: Model, images: Images) -> dict[str, Any]:
    """The answer of `/predict_batch` (schemas.Predictions), lists in the order of the images; null for blank ones."""
    probabilities, _ = model.classify(images)
    is_blank = ~np.asarray(images.any(axis=(1, 2)))
    digits, rows = probabilities.argmax(axis=1).tolist(), list(probabilities)
    for index in np.flatnonzero(is_blank).tolist():
        digits[index] = rows[index] = None
    return {"model": model.tag, "is_blank": is_blank, "digits": digits, "probabilities": rows}


def top_class(model: Model, probabilities: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The most probable digit with its class name and confidence, and the probabilities of all classes."""
    digit = int(probabilities.argmax())
    return {
        "digit": digit,
        "class": model.classes[digit],
        "confidence": probabilities[digit],
        "probabilities": probabilities,
    }


def png_data_url(image: Images) -> str:
    """`(28, 28) uint8` as a data URL for an `<img>`: light ink on black, as the model sees it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
