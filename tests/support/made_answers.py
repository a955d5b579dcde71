"""Features of made answers, as pipeline.monitoring.reference describes them."""

from typing import Any

import numpy as np

from pipeline.data.dataset import DIGITS
from pipeline.monitoring.reference import Reference


def features(count: int, seed: int, ink: float = 0.0, none: float = 0.02) -> dict[str, Any]:
    """Of this many images; `ink` is added to the share of ink, `none` is the share of those without a digit."""
    rng = np.random.default_rng(seed)
    score = 1 - rng.beta(1, 50, count)
    return {
        "ink": rng.normal(0.13 + ink, 0.04, count).clip(0, 1),
        "width": rng.integers(4, 21, count),
        "height": np.where(rng.random(count) < 0.9, 20, 19),
        "confidence": score * (1 - rng.beta(1, 30, count)),
        "score": score,
        "class": np.where(rng.random(count) < none, len(DIGITS), rng.integers(0, len(DIGITS), count)),
    }


def reference(count: int = 10_000) -> Reference:
    return Reference.of(features(count, seed=1), DIGITS)
