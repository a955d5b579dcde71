"""Prometheus metrics, exposed at `/metrics`."""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pipeline.monitoring.drift import MIN_ANSWERS, compare
from pipeline.monitoring.reference import Counts, Reference
from serving.workers import PROMETHEUS

SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SHARES: Final = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)

REQUESTS: Final = Counter("digits_requests", "Requests answered", ["path", "status"])
LATENCY: Final = Histogram(
    "digits_request_seconds", "From a request's first byte to its answer", ["path"], buckets=SECONDS
)
PREDICTIONS: Final = Counter("digits_predictions", "Images by the class that was predicted", ["class_name"])
CONFIDENCE: Final = Histogram("digits_confidence", "Confidence in the predicted class", buckets=SHARES)
SCORE: Final = Histogram("digits_score", "Digit scores: how surely an image shows one of the classes", buckets=SHARES)
NO_DIGIT: Final = Counter("digits_none", "Images and pictures that show none of the classes, by reason", ["reason"])
REJECTED: Final = Counter("digits_rejected", "Requests refused, by the code of the problem", ["code"])
CLOSED: Final = Counter("digits_connections_closed", "Connections closed by the service, by reason", ["reason"])
MODEL: Final = Gauge("digits_model", "1 for the model that is served", ["tag"], multiprocess_mode="max")
UNLOGGED: Final = Counter("digits_unlogged", "Requests missing in the log or in the window, by reason", ["reason"])
SHADOW: Final = Counter("digits_shadow_images", "Images by what the two models said", ["served", "shadow", "agrees"])
SHADOW_SKIPPED: Final = Counter("digits_shadow_skipped", "Images for which the shadow had no time, or failed")
SHADOW_MODEL: Final = Gauge("digits_shadow_model", "1 for the model in the shadow", ["tag"], multiprocess_mode="max")
WINDOW: Final = Gauge(
    "digits_window", "The last images by the bins of the reference", ["feature", "bin"], multiprocess_mode="livesum"
)
REFERENCE: Final = Gauge(
    "digits_reference", "The test images by the same bins", ["feature", "bin"], multiprocess_mode="max"
)


@cache
def requests(path: str, status: int) -> Counter:
    return REQUESTS.labels(path, str(status))


@cache
def latency(path: str) -> Histogram:
    return LATENCY.labels(path)


@cache
def predictions(class_name: str) -> Counter:
    return PREDICTIONS.labels(class_name)


@cache
def no_digit(reason: str) -> Counter:
    return NO_DIGIT.labels(reason)


@cache
def unlogged(reason: str) -> Counter:
    return UNLOGGED.labels(reason)


def show_reference(reference: Reference) -> None:
    for feature, counts in reference.counts.items():
        for label, count in zip(reference.labels(feature), counts, strict=True):
            REFERENCE.labels(feature, label).set(count)


def show_window(reference: Reference, counts: Mapping[str, Counts]) -> None:
    for feature, values in counts.items():
        for label, count in zip(reference.labels(feature), values.tolist(), strict=True):
            WINDOW.labels(feature, label).set(count)


def count_picture(answer: Mapping[str, Any]) -> None:
    """Count the answer to a picture: of `/predict`, or of `/read` with each of its digits and of what it left out."""
    if rejected := answer.get("rejected"):
        no_digit("not_a_digit").inc(len(rejected))
    elif answer["reason"]:
        no_digit(answer["reason"]).inc()
    for digit in answer.get("digits", [answer]):
        SCORE.observe(float(digit["digit_score"]))
        if digit["digit"] is not None:
            predictions(digit["class"]).inc()
            CONFIDENCE.observe(float(digit["confidence"]))


def count_batch(answer: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    """Count the answer of `/predict_batch`."""
    scores = answer["digit_scores"]
    confidences = (scores * answer["probabilities"].max(axis=1)).tolist()
    rows = zip(answer["digits"], answer["reasons"], scores.tolist(), confidences, strict=True)
    for digit, reason, score, confidence in rows:
        SCORE.observe(score)
        if digit is None:
            no_digit(reason).inc()
        else:
            predictions(classes[digit]).inc()
            CONFIDENCE.observe(confidence)


class WithDrift(Collector):
    """The metrics of a collector, and those of drift, computed from the window and the reference among them: of several
    workers, of their windows together."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector

    def collect(self) -> Iterator[Metric]:
        counts: dict[str, dict[str, dict[str, int]]] = {"digits_window": {}, "digits_reference": {}}
        for metric in self.collector.collect():
            yield metric
            for sample in metric.samples if metric.name in counts else ():
                feature = counts[metric.name].setdefault(sample.labels["feature"], {})
                feature[sample.labels["bin"]] = int(sample.value)
        yield from drift_metrics(counts["digits_reference"], counts["digits_window"])


def drift_metrics(reference: Mapping[str, Mapping[str, int]], window: Mapping[str, Mapping[str, int]]) -> list[Metric]:
    """Of the counts by feature and bin. With too few answers in the window there are none to compare."""
    answers = max((sum(counts.values()) for counts in window.values()), default=0)
    size = GaugeMetricFamily("digits_window_images", "Images in the window", value=answers)
    index = GaugeMetricFamily("digits_drift_psi", "Population stability index of the window", labels=["feature"])
    chance = GaugeMetricFamily("digits_drift_p_value", "Of the chi-squared test of the window", labels=["feature"])
    drifted = GaugeMetricFamily("digits_drift", "1 for a feature that has drifted", labels=["feature"])
    if answers >= MIN_ANSWERS:
        rows = {name: [window[name].get(label, 0) for label in counts] for name, counts in reference.items()}
        for found in compare({name: [*counts.values()] for name, counts in reference.items()}, rows):
            index.add_metric([found.feature], found.psi)
            chance.add_metric([found.feature], found.p_value)
            drifted.add_metric([found.feature], found.has_drifted)
    return [size, index, chance, drifted]


def page() -> bytes:
    """All metrics in Prometheus' text format, of all workers."""
    if PROMETHEUS not in os.environ:
        return generate_latest(WithDrift(REGISTRY))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(WithDrift(registry))
