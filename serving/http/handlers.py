"""From images to what a client is told about them."""

import base64
import io
from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.image import canonical, ink_of, open_picture
from serving.http import metrics
from serving.http.errors import Problem
from serving.model import Images, Model, Probabilities
from serving.rows import reader

JUDGED: Final = ("digit", "class", "confidence", "probabilities")


def refusal(error: PictureError) -> Problem:
    return Problem(error.code, str(error), got=error.got, expected=error.expected)


def of_picture(model: Model, content: bytes, seen: bool) -> dict[str, Any]:
    """The answer of `/predict`. A page with nothing on it has `is_blank` and no digit. Raises Problem."""
    try:
        image = canonical(content)
    except PictureError as error:
        if error.code == "blank_page":
            metrics.BLANK.inc()
            return {"model": model.tag, "is_blank": True} | dict.fromkeys(JUDGED)
        raise refusal(error) from error
    (probabilities,) = model.probabilities(image[None])
    count(model, probabilities[None])
    answer = {"model": model.tag, "is_blank": False, **judged(model, probabilities)}
    return answer | {"seen": as_png(image)} if seen else answer


def of_row(model: Model, content: bytes, seen: bool) -> dict[str, Any]:
    """The answer of `/read`: the digits from left to right, each with its box as shares of the picture's sides.

    Raises Problem, also for a model of anything but digits.
    """
    if not model.tells_digits:
        raise Problem("not_digits", f"the model {model.tag} tells {', '.join(model.classes)} apart, not digits")
    try:
        ink = ink_of(open_picture(content))
        digits = reader.find(model, ink)
    except PictureError as error:
        if error.code == "blank_page":
            metrics.BLANK.inc()
            return {"model": model.tag, "is_blank": True, "text": "", "digits": []}
        raise refusal(error) from error
    count(model, np.array([digit.probabilities for digit in digits]))
    height, width = ink.shape
    answers = []
    for digit in digits:
        left, top, right, bottom = digit.box
        box = {
            "left": left / width,
            "top": top / height,
            "width": (right - left) / width,
            "height": (bottom - top) / height,
        }
        answer = judged(model, digit.probabilities) | {"box": box}
        answers.append(answer | {"seen": as_png(digit.image)} if seen else answer)
    text = "".join(str(answer["digit"]) for answer in answers)
    return {"model": model.tag, "is_blank": False, "text": text, "digits": answers}


def judged(model: Model, probabilities: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The digit with its class name, its confidence, and the probabilities of all classes."""
    digit = int(probabilities.argmax())
    return {
        "digit": digit,
        "class": model.classes[digit],
        "confidence": probabilities[digit],
        "probabilities": probabilities,
    }


def of_batch(model: Model, images: Images) -> dict[str, Any]:
    """The answer of `/predict_batch`, lists in the order of the images; null where an image has nothing on it."""
    probabilities = model.probabilities(images)
    is_blank = ~np.asarray(images.any(axis=(1, 2)))
    count(model, probabilities[~is_blank])
    metrics.BLANK.inc(int(is_blank.sum()))
    digits, rows = probabilities.argmax(axis=1).tolist(), list(probabilities)
    for place in np.flatnonzero(is_blank).tolist():
        digits[place] = rows[place] = None
    return {"model": model.tag, "is_blank": is_blank, "digits": digits, "probabilities": rows}


def count(model: Model, probabilities: Probabilities) -> None:
    """Note the predictions, `(N, classes)`, in the metrics."""
    for label, number in Counter(probabilities.argmax(axis=1).tolist()).items():
        metrics.predictions(model.classes[label]).inc(number)
    for confidence in probabilities.max(axis=1).tolist():
        metrics.CONFIDENCE.observe(confidence)


def as_png(image: Images) -> str:
    """`(28, 28) uint8` as a data URL that an `<img>` shows, light ink on black as the model sees it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
