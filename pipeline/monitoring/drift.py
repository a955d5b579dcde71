"""Whether answers are distributed as the reference is. Needs nothing but numpy, for the service.

A feature has drifted if both are true. Its population stability index is at least LIMIT: the difference is large. And
the chi-squared test of homogeneity of its two rows of counts says so at FALSE_ALARM / the number of features
(Bonferroni): of windows whose answers are distributed as the test set is, at most FALSE_ALARM have a drifted feature.
The test assumes that answers are independent of each other; one person's hundred 7s are not.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FALSE_ALARM: Final = 0.01  # of a comparison of all features
LIMIT: Final = 0.2  # of the population stability index: usually called a large shift; 0.1 to 0.2 a small one
MIN_ANSWERS: Final = 200  # with fewer, chance alone makes an index of 0.05 and more
MIN_EXPECTED: Final = 5.0  # answers in a bin, for the chi-squared distribution to hold (Cochran, 1954)

Counts = npt.NDArray[np.integer] | Sequence[int]


class Comparison(NamedTuple):
    """Of one feature."""

    feature: str
    psi: float
    """Population stability index, from 0."""
    p_value: float
    """Probability of counts that differ so much or more, if nothing has changed."""
    has_drifted: bool


def psi(reference: Counts, answers: Counts) -> float:
    """Σ (q − p) ln(q / p) over the shares of bins, p of the reference and q of the answers; half a count is added to
    each bin, so that an empty one has a share."""
    p, q = (np.asarray(counts) + 0.5 for counts in (reference, answers))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def p_value(reference: Counts, answers: Counts) -> float:
    """Of the chi-squared test of homogeneity. Bins in which less than MIN_EXPECTED answers are expected are one bin."""
    table = np.array([reference, answers], float)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    is_rare = expected.min(axis=0) < MIN_EXPECTED
    if is_rare.any():
        table, expected = (
            np.column_stack([values[:, ~is_rare], values[:, is_rare].sum(axis=1)]) for values in (table, expected)
        )
    table, expected = (values[:, expected[1] > 0] for values in (table, expected))
    return chi_squared_tail(float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1)


def chi_squared_tail(value: float, freedom: int) -> float:
    """Probability of `value` or more under the chi-squared distribution (Abramowitz and Stegun, 26.4.4 and 26.4.5)."""
    half, odd = value / 2, freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    for step in range(freedom // 2):
        power = step + odd / 2
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1)) if half else float(power == 0)
    return min(1.0, total) if freedom else 1.0


def compare(reference: Mapping[str, Counts], answers: Mapping[str, Counts]) -> list[Comparison]:
    """Compare the counts of each feature. A feature without answers is left out."""
    level = FALSE_ALARM / max(1, len(reference))
    found = []
    for feature, counts in answers.items():
        if sum(counts):
            index, p = psi(reference[feature], counts), p_value(reference[feature], counts)
            found.append(Comparison(feature, index, p, index >= LIMIT and p < level))
    return found
