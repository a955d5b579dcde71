"""Prometheus metrics, exposed at `/metrics`."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

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


def page() -> bytes:
    """All metrics in Prometheus' text format, of all workers."""
    if PROMETHEUS not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
