"""From a picture and what it shows to a stored correction. The service answers the picture again: what a client says
about the answer is not believed."""

import base64
import io
from typing import Any, Final

from prometheus_client import Counter

from pipeline.core.errors import PictureError
from pipeline.data.ink import BLANK
from pipeline.data.picture import open_picture
from serving.corrections.settings import LABELS, NONE
from serving.corrections.store import CorrectionStore
from serving.http import handlers
from serving.http.errors import Problem, to_problem, unexpected
from serving.model import Model

CORRECTIONS: Final = Counter("digits_corrections", "Corrections stored, by answer and label", ["answer", "label"])


def correct(model: Model, store: CorrectionStore, content: bytes, label: str, digit: int | None) -> dict[str, Any]:
    """Store that the picture shows `label`, or its digit with the index `digit` in a row, and return the answer of
    `/corrections` (schemas.Correction). Raises Problem."""
    if not model.classifies_digits:
        raise Problem("not_digits", f"the model {model.tag} classifies {', '.join(model.classes)}, not digits")
    if model.preprocessing != "ink":
        raise Problem("not_digits", f"the model {model.tag} classifies pictures as they are, not the ink of digits")
    store.check()  # before the work
    picture = decoded(content)
    answer = handlers.predict(model, picture, True) if digit is None else digit_of_row(model, picture, digit)
    if answer["reason"] == "blank_page":
        raise unexpected("wrong_value", *BLANK[1:])
    seen = base64.b64decode(answer.pop("seen").partition(",")[2])
    name = store.save(picture, seen, {"answer": answer, "label": label, "model": answer.pop("model", model.tag)})
    CORRECTIONS.labels(answer["class"] or NONE, label).inc()
    return {"correction": name, "label": label, "model": model.tag}


def decoded(content: bytes) -> bytes:
    """The picture as it is read: upright, grey and of less than 2048 pixels a side, as PNG without metadata. It gives
    the model the same image as the file that was sent."""
    try:
        picture = open_picture(content)
    except PictureError as error:
        raise to_problem(error) from error
    buffer = io.BytesIO()
    picture.info.clear()  # Pillow writes some of it
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def digit_of_row(model: Model, picture: bytes, index: int) -> dict[str, Any]:
    digits: list[dict[str, Any]] = handlers.read(model, picture, True)["digits"]
    if index >= len(digits):
        raise unexpected("bad_query", f"digit={index}", f"the index of one of the {len(digits)} digits, from 0")
    return digits[index]


def parse_label(value: str | None) -> str:
    """Raises Problem."""
    if value is None or value not in LABELS:
        got = f"label={value[:100]}" if value else "no label in the query"
        raise unexpected("bad_query", got, f"label={', '.join(LABELS[:-1])} or {NONE}")
    return value


def parse_index(value: str | None) -> int | None:
    """The index of a digit in a row; None without one: the picture is of one digit. Raises Problem."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 2):
        raise unexpected("bad_query", f"digit={value[:100]}", "the index of a digit in a row, from 0")
    return int(value)
