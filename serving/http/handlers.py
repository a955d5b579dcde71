"""From images to answers, the JSON of the responses. No HTTP, no metrics."""

import base64
import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.components import Box
from pipeline.data.image import preprocess
from pipeline.data.ink import extract_ink
from pipeline.data.limits import COLOURS, Reason
from pipeline.data.picture import open_picture
from serving.http.errors import Problem, to_problem
from serving.model import Images, Model
from serving.rows import reader

# Factor of the digit score where the picture's marks alone show that it is no digit: the network has seen them together
# in one image and may score it highly. Below a tenth, such a picture ranks behind every digit.
REFUSED_SCORE: Final = 0.1

Shares = npt.NDArray[np.float32]
# Gets the images that the model saw, `(N, 28, 28)`, the network's probabilities and scores, and why there is no digit.
Observe = Callable[[Images, Shares, Shares, list[Reason | None]], None]


def ignore(images: Images, probabilities: Shares, scores: Shares, reasons: list[Reason | None]) -> None:
    """Observe nothing."""


def predict(model: Model, content: bytes, seen: bool, observe: Observe = ignore) -> dict[str, Any]:
    """The answer of `/predict` (schemas.Prediction); with `seen` also the image that the model saw. Raises Problem."""
    try:
        image, reason, is_several = preprocess(content, model.preprocessing, model.channels)
    except PictureError as error:
        raise to_problem(error) from error
    (probabilities,), (score,) = model.classify(image[None])
    network_score = score
    if reason:
        score = score * (0 if reason == "blank_page" else REFUSED_SCORE)
    elif score < model.threshold:
        reason = "several_digits" if is_several else "not_a_digit"
    observe(image[None], probabilities[None], np.array([network_score], np.float32), [reason])
    answer = {"model": model.tag, **top_class(model, probabilities, score, reason)}
    return answer | {"seen": png_data_url(image)} if seen else answer


def read(model: Model, content: bytes, seen: bool, observe: Observe = ignore) -> dict[str, Any]:
    """The answer of `/read` (schemas.Reading): the digits from left to right, and what is as large as a digit and none,
    each with its box as shares of the picture's sides.

    Raises Problem, also for a model of anything but digits, or one that sees colours.
    """
    if not model.classifies_digits:
        raise Problem("not_digits", f"the model {model.tag} classifies {', '.join(model.classes)}, not digits")
    if model.channels == COLOURS:
        raise Problem(
            "not_digits", f"the model {model.tag} classifies pictures in colour, not the ink that a row is cut into"
        )
    try:
        ink = extract_ink(open_picture(content))
        found = reader.read_row(model, ink)
    except PictureError as error:
        if error.code == "blank_page":
            return {"model": model.tag, "reason": "blank_page", "text": "", "digits": [], "rejected": []}
        raise to_problem(error) from error
    if found:
        reasons: list[Reason | None] = [None if digit.score >= model.threshold else "not_a_digit" for digit in found]
        images, probabilities = (
            np.stack(rows) for rows in zip(*((d.image, d.probabilities) for d in found), strict=True)
        )
        observe(images, probabilities, np.array([digit.score for digit in found], np.float32), reasons)
    digits = []
    rejected = [shares(digit.box, ink.shape) for digit in found if digit.score < model.threshold]
    for digit in found:
        if digit.score >= model.threshold:
            answer = top_class(model, digit.probabilities, digit.score, None) | {"box": shares(digit.box, ink.shape)}
            digits.append(answer | {"seen": png_data_url(digit.image)} if seen else answer)
    text = "".join(str(digit["digit"]) for digit in digits)
    reason = None if digits else "not_a_digit"
    return {"model": model.tag, "reason": reason, "text": text, "digits": digits, "rejected": rejected}


def shares(box: Box, shape: tuple[int, ...]) -> dict[str, float]:
    """A box in pixels of an image of this shape as shares of its sides."""
    (left, top, right, bottom), (height, width) = box, shape
    return {
        "left": left / width,
        "top": top / height,
        "width": (right - left) / width,
        "height": (bottom - top) / height,
    }


def predict_batch(model: Model, images: Images, observe: Observe = ignore) -> dict[str, Any]:
    """The answer of `/predict_batch` (schemas.Predictions), lists in the order of the images."""
    probabilities, scores = model.classify(images)
    digits: list[int | None] = probabilities.argmax(axis=1).tolist()
    reasons: list[Reason | None] = [None] * len(digits)
    has_ink = np.asarray(images.any(axis=tuple(range(1, images.ndim))))
    scores = scores * has_ink
    for index in ((scores < model.threshold) | ~has_ink).nonzero()[0].tolist():
        digits[index], reasons[index] = None, "not_a_digit" if has_ink[index] else "blank_page"
    observe(images, probabilities, scores, reasons)
    return {
        "model": model.tag,
        "digits": digits,
        "reasons": reasons,
        "digit_scores": scores,
        "probabilities": probabilities,
    }


def top_class(model: Model, probabilities: Shares, score: np.float32, reason: Reason | None) -> dict[str, Any]:
    """The most probable digit with its class name and the confidence in it, null if there is a reason for no digit; the
    digit score, and the probabilities of all classes, given that it is a digit."""
    digit = int(probabilities.argmax())
    is_digit = reason is None
    return {
        "digit": digit if is_digit else None,
        "class": model.classes[digit] if is_digit else None,
        "confidence": score * probabilities[digit] if is_digit else None,
        "reason": reason,
        "digit_score": score,
        "probabilities": probabilities,
    }


def png_data_url(image: Images) -> str:
    """`(28, 28[, 3]) uint8` as a data URL for an `<img>`: light ink on black, or colours, as the model sees it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
