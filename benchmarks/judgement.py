"""What a service answered to labelled pictures, and how good that is."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.labelled_pictures import Picture
from pipeline.reports.calibration import auroc, expected_calibration_error, reliability

SURE: Final = 0.9  # confidence of an answer that a user would not doubt
LOWEST: Final = 1e-12  # of a label's probability, so that no loss is infinite


class Judged(NamedTuple):
    picture: Picture
    got: str
    """The digit or the row; without one, the reason, or the code of the error."""
    is_right: bool
    """Something else than a digit is right without a digit."""
    is_answered: bool
    confidence: float
    """Of the digit; 0 for a row, and without a digit."""
    digit_score: float
    probability: float
    """Of the label; 0 unless it is a digit that was answered."""
    seen: str
    """The image that the model saw, as a data URL; empty for a row."""
    refusal: str
    """Why the service refuses the file, such as a damaged one; empty if it answered."""


class Share(NamedTuple):
    name: str
    right: int
    of: int

    @property
    def value(self) -> float:
        return self.right / self.of


def judge(picture: Picture, answer: Mapping[str, Any]) -> Judged:
    """`answer` is that of `/predict`, of `/read` for a row, or an error's, with `code` and `message`."""
    digit, text = answer.get("digit"), str(answer.get("text") or "")
    is_answered = digit is not None or bool(text)
    why = answer.get("code") or answer.get("reason") or ("blank_page" if answer.get("is_blank") else "nothing")
    got = text or (str(digit) if digit is not None else str(why))
    is_right = not is_answered if picture.kind == "not_digits" else is_answered and got == picture.label
    confidence = float(answer.get("confidence") or 0) if digit is not None else 0.0
    knows_label = picture.kind == "digits" and digit is not None
    return Judged(
        picture,
        got,
        is_right,
        is_answered,
        confidence,
        # Services of earlier releases have no score.
        float(answer.get("digit_score", confidence) or 0),
        float(answer["probabilities"][int(picture.label)]) if knows_label else 0.0,
        str(answer.get("seen") or ""),
        str(answer["message"]) if "code" in answer else "",
    )


def shares(judged: Sequence[Judged]) -> list[Share]:
    """How many are right, of each kind and of each note within it."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in judged:
        note = one.picture.note
        for name in (one.picture.kind, *([f"{one.picture.kind} {note}"] if note else [])):
            counts[name][0] += one.is_right
            counts[name][1] += 1
    return [Share(name, *counts[name]) for name in sorted(counts)]


def figures(judged: Sequence[Judged]) -> dict[str, float]:
    """The numbers beside the shares. Left out: what the pictures give no number for."""
    digits = [one for one in judged if one.picture.kind == "digits"]
    others = [one for one in judged if one.picture.kind == "not_digits"]
    answered = [one for one in digits if one.is_answered]
    writers: dict[str, list[bool]] = defaultdict(list)
    for one in digits:
        writers[one.picture.writer].append(one.is_right)
    found: dict[str, float] = {}
    if len(writers) > 1:
        found["mean over writers"] = float(np.mean([np.mean(hits) for hits in writers.values()]))
    if digits:
        found["digits answered"] = len(answered) / len(digits)
    if answered:
        confidences = np.array([one.confidence for one in answered])
        bins = reliability(confidences, np.array([one.is_right for one in answered]))
        found["ECE"] = expected_calibration_error(bins)
        found["NLL"] = float(np.mean([-math.log(max(one.probability, LOWEST)) for one in answered]))
    if others:
        found["not digits answered above 0.9"] = sum(one.confidence > SURE for one in others) / len(others)
    if digits and others:
        scores = (np.array([one.digit_score for one in group]) for group in (digits, others))
        found["AUROC"] = auroc(*scores)
    return found
