"""When a model becomes champion.

A candidate has to be good enough by itself (`limits`): accuracy, share refused, latency and size within the limits of
params.yaml, and its golden pictures answered. Against a champion, on the same images (`comparison`), it must not be
worse:

* accuracy: McNemar's exact test of the images that one model answers correctly and the other wrongly (McNemar, 1947);
  classes: the same, one-sided, corrected for their number (Bonferroni; Holm's first step is the same).
* mean loss (NLL) and calibration (ECE): the interval of the difference, from resampled images (a paired bootstrap),
  is not above 0; an ECE may be higher by `ece_tolerance`.
* own handwriting: no more pictures that are answered wrongly or refused.

And there must be evidence that it is better: it is significantly more accurate, or its mean loss is significantly
lower and by at least the share `nll_gain`. So a model that is equal stays a candidate, whatever its luck with a few
images: with `significance` 0.05 each of the two is chance in at most one of forty cases. Not covered: how well a model
recognises what is no digit; `score` measures it.
"""

from collections.abc import Callable
from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.data.dataset import Split
from pipeline.promotion.evaluation import Evaluation
from pipeline.promotion.images import Images
from pipeline.promotion.settings import Params
from pipeline.promotion.verdict import Criterion
from pipeline.reports.calibration import expected_calibration_error, reliability
from pipeline.reports.metrics import cross_entropy
from pipeline.reports.predictions import Predictions, reliability_of

TOLERANCE: Final = 1e-4  # of a golden answer; the same as in the export stage and in the service
RESAMPLES: Final = 2000
SEED: Final = 1

Indices = npt.NDArray[np.int64]


def binomial_tail(successes: int, trials: int) -> float:
    """Probability of at least `successes` in that many tosses of a fair coin."""
    ways = found = comb(trials, successes)
    for count in range(successes, trials):  # much faster than `comb` for each
        ways = ways * (trials - count) // (count + 1)
        found += ways
    return float(found / 2**trials)


def mcnemar(worse: int, better: int) -> float:
    """Two-sided p of McNemar's exact test: `worse` images that only the first of two models answers correctly,
    `better` images that only the second does."""
    return min(1.0, 2 * binomial_tail(max(worse, better), worse + better))


def bootstrap_interval(difference: Callable[[Indices], float], images: int, significance: float) -> tuple[float, float]:
    """The interval of a difference, computed on the images of the given indices, that leaves out `significance`."""
    generator = np.random.default_rng(SEED)
    values = [difference(generator.integers(0, images, images)) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, [significance / 2, 1 - significance / 2])
    return float(low), float(high)


def limits(evaluation: Evaluation, images: Images, params: Params) -> list[Criterion]:
    """What every champion has to satisfy, the first one too."""
    validation = evaluation.validation
    accuracy = float((validation.digits == images.validation.labels).mean())
    refused = float(validation.is_refused.mean())
    return [
        Criterion(
            "golden pictures",
            evaluation.golden_difference <= TOLERANCE,
            f"answers differ from those of the trained network by {evaluation.golden_difference:.1e}, at most "
            f"{TOLERANCE:.0e}",
        ),
        Criterion(
            "limit of accuracy", accuracy >= params.min_accuracy, f"{accuracy:.2%}, at least {params.min_accuracy:.2%}"
        ),
        Criterion(
            "limit of refusals",
            refused <= params.max_refused,
            f"{refused:.2%} of the validation images are refused, at most {params.max_refused:.2%}",
        ),
        Criterion(
            "latency",
            evaluation.latency_ms <= params.latency_ms,
            f"{evaluation.latency_ms:.2f} ms, at most {params.latency_ms:g} ms for one image on one thread",
        ),
        Criterion(
            "size",
            evaluation.size_mb <= params.size_mb,
            f"{evaluation.size_mb:.2f} MB, at most {params.size_mb:g} MB",
        ),
    ]


def comparison(champion: Evaluation, candidate: Evaluation, images: Images, params: Params) -> list[Criterion]:
    """Whether the candidate is nowhere worse than the champion, and somewhere better."""
    labels, alpha = images.validation.labels, params.significance
    before, after = (model.validation.digits == labels for model in (champion, candidate))
    worse, better = before & ~after, after & ~before
    p = mcnemar(int(worse.sum()), int(better.sum()))
    losses = [cross_entropy(model.validation.probabilities, labels) for model in (champion, candidate)]
    loss_interval = bootstrap_interval(
        lambda index: float((losses[1] - losses[0])[index].mean()), len(labels), params.significance
    )
    nll = [float(loss.mean()) for loss in losses]
    is_more_accurate = p < alpha and better.sum() > worse.sum()
    has_lower_loss = loss_interval[1] < 0 and nll[1] <= (1 - params.nll_gain) * nll[0]
    reasons = [
        f"its accuracy is {'' if is_more_accurate else 'not '}significantly higher (p = {p:.2g})",
        f"its NLL is {'' if has_lower_loss else 'not '}lower, by {params.nll_gain:.0%} or more and significantly",
    ]
    found = "it is better" if is_more_accurate or has_lower_loss else "no evidence that it is better"
    return [
        Criterion(
            "accuracy",
            not (p < alpha and worse.sum() > better.sum()),
            f"{before.mean():.2%} → {after.mean():.2%}; of {len(labels):,} images {worse.sum()} are wrong now and "
            f"{better.sum()} right now, McNemar p = {p:.2g}",
        ),
        _classes(worse, better, images.validation, candidate.validation.probabilities.shape[1], alpha),
        _handwriting(champion.handwriting, candidate.handwriting, images.handwriting),
        Criterion("NLL", loss_interval[0] <= 0, _change(nll[0], nll[1], loss_interval)),
        _calibration(champion.validation, candidate.validation, images.validation, params),
        Criterion("evidence", is_more_accurate or has_lower_loss, f"{found}: {', '.join(reasons)}"),
    ]


def _classes(
    worse: npt.NDArray[np.bool_], better: npt.NDArray[np.bool_], split: Split, classes: int, alpha: float
) -> Criterion:
    counts = [[int(hits[split.labels == label].sum()) for hits in (worse, better)] for label in range(classes)]
    probabilities = [binomial_tail(lost, lost + won) for lost, won in counts]
    worst = int(np.argmin(probabilities))
    lost, won = counts[worst]
    return Criterion(
        "classes",
        probabilities[worst] >= alpha / classes,
        f"class {worst} has the most evidence of being worse: {lost} are wrong now, {won} right now, p = "
        f"{probabilities[worst]:.2g}, significant below {alpha / classes:.2g}",
    )


def _handwriting(champion: Predictions, candidate: Predictions, split: Split) -> Criterion:
    before, after = (int(((model.digits != split.labels) | model.is_refused).sum()) for model in (champion, candidate))
    return Criterion("own handwriting", after <= before, f"{before} → {after} of {len(split)} wrong or refused")


def _calibration(champion: Predictions, candidate: Predictions, split: Split, params: Params) -> Criterion:
    models = (champion, candidate)

    def difference(index: Indices) -> float:
        before, after = (_ece(model, split, index) for model in models)
        return after - before

    before, after = (expected_calibration_error(reliability_of(split, model)) for model in models)
    interval = bootstrap_interval(difference, len(split), params.significance)
    passed = interval[0] <= 0 or after - before <= params.ece_tolerance
    return Criterion("ECE", passed, f"{_change(before, after, interval)}, at most {params.ece_tolerance:+g}")


def _ece(model: Predictions, split: Split, index: Indices) -> float:
    taken = index[~model.is_refused[index]]
    hits = model.digits[taken] == split.labels[taken]
    return expected_calibration_error(reliability(model.confidences[taken], hits))


def _change(before: float, after: float, interval: tuple[float, float]) -> str:
    return f"{before:.4f} → {after:.4f}, difference {after - before:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"
