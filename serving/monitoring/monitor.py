"""What is kept of answers: a window of the last ones, which /metrics shows, and the prediction log. The shadow model
gets the same images.

A request is only appended to a list; a thread computes and writes a quarter of a second later, so that no answer waits
for it, and no failure of it breaks one. What comes faster than the thread can follow is counted and left out.
"""

import atexit
import logging
import threading
import time
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.data.limits import Reason
from pipeline.monitoring.reference import FEATURES, NONE, Features, describe
from serving.http import metrics
from serving.model import Model
from serving.monitoring.prediction_log import Log
from serving.monitoring.shadow import Shadow

WINDOW: Final = 1000  # images, the last ones of this worker
MAX_SAMPLE: Final = 128  # images of one request; of a larger batch evenly spaced ones
MAX_PENDING: Final = 4096  # images that wait for the thread: 3 MB
INTERVAL: Final = 0.25  # seconds
DECIMALS: Final = 6

log = logging.getLogger("serving")


class Sample(NamedTuple):
    """Of the images of one request those that are kept, and the answers to them."""

    size: int
    """Images in the request."""
    images: npt.NDArray[np.uint8]
    """`(N, 28, 28)`, as the model saw them."""
    probabilities: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    reasons: list[Reason | None]
    """Why there is no digit."""


class Entry(NamedTuple):
    """One request, with its sample if it was answered."""

    time: float
    """Seconds since 1970, of the answer."""
    path: str
    status: int
    seconds: float
    """From the request's first byte to its answer."""
    sample: Sample | None


def sample_of(
    images: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    reasons: list[Reason | None],
) -> Sample:
    """Copies: the bytes of the request are free when it is answered."""
    size = len(images)
    if size <= MAX_SAMPLE:
        return Sample(size, images.copy(), probabilities, scores, reasons)
    index = np.linspace(0, size - 1, MAX_SAMPLE).astype(np.int64)
    return Sample(size, images[index], probabilities[index], scores[index], [reasons[i] for i in index.tolist()])


class Monitor:
    """Of a model, whose reference may be None: then there is no window."""

    def __init__(self, model: Model, log: Log | None, shadow: Shadow | None = None) -> None:
        self.model, self.shadow = model, shadow
        self.tag, self.names, self.reference, self.log = model.tag, (*model.classes, NONE), model.reference, log
        self.digest = self.reference.digest if self.reference else None
        self.window = {name: np.zeros(0, np.int64) for name in FEATURES}
        self._pending: list[Entry] = []
        self._pending_images = 0
        self._pending_lock, self._drain_lock = threading.Lock(), threading.Lock()
        self._has_pending = threading.Event()
        self._has_failed = False
        for reason in ("busy", "failed"):
            metrics.unlogged(reason)  # 0 from the start, so that the first one is seen as an increase
        if self.reference:
            metrics.show_reference(self.reference)

    def add(self, entry: Entry) -> None:
        images = len(entry.sample.scores) if entry.sample else 0
        with self._pending_lock:
            has_room = len(self._pending) < MAX_PENDING and self._pending_images + images <= MAX_PENDING
            if has_room:
                self._pending.append(entry)
                self._pending_images += images
        if not has_room:
            metrics.unlogged("busy").inc()
        elif not self._has_pending.is_set():
            self._has_pending.set()

    def drain(self) -> None:
        """Count and log what is pending. Never raises."""
        with self._drain_lock:
            with self._pending_lock:
                entries, self._pending, self._pending_images = self._pending, [], 0
                self._has_pending.clear()
            try:
                self._process(entries)
            except Exception as error:
                metrics.unlogged("failed").inc(len(entries))
                if not self._has_failed:  # a full disk stays full: one line until it has room again
                    log.warning("answers are missing in the prediction log or in the window for drift: %s", error)
                self._has_failed = True
            else:
                self._has_failed = False

    def run(self) -> None:
        """Drain again and again."""
        while True:
            self._has_pending.wait()
            time.sleep(INTERVAL)
            self.drain()

    def _process(self, entries: list[Entry]) -> None:
        samples = [entry.sample for entry in entries if entry.sample]
        features: Features = {}
        if samples:
            images, probabilities, scores = (
                np.concatenate(parts) for parts in zip(*(s[1:4] for s in samples), strict=True)
            )
            is_none = np.array([reason is not None for sample in samples for reason in sample.reasons])
            features = describe(images, probabilities, scores, is_none)
            if self.reference:
                bins = self.reference.bins(features)
                self.window = {name: np.concatenate([self.window[name], bins[name]])[-WINDOW:] for name in FEATURES}
                metrics.show_window(self.reference, self.reference.count(self.window))
        if self.log and entries:
            self.log.append(b"".join(self._lines(entries, features)))
        if self.shadow and samples:
            self.shadow.compare(self.model, images, probabilities, scores)

    def _lines(self, entries: list[Entry], features: Features) -> list[bytes]:
        listed = {name: values.astype(float).round(DECIMALS).tolist() for name, values in features.items()}
        for name in features.keys() & {"width", "height"}:
            listed[name] = features[name].tolist()
        if features:
            listed["class"] = [self.names[label] for label in features["class"].tolist()]
        ends = accumulate((len(entry.sample.scores) if entry.sample else 0 for entry in entries), initial=0)
        return [self._line(entry, listed, *span) for entry, span in zip(entries, pairwise(ends), strict=True)]

    def _line(self, entry: Entry, listed: dict[str, list[Any]], start: int, end: int) -> bytes:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="milliseconds"),
            "path": entry.path,
            "status": entry.status,
            "seconds": round(entry.seconds, DECIMALS),
            "model": self.tag,
            "reference": self.digest,
        }
        if entry.sample:
            line |= {"images": entry.sample.size, "reason": entry.sample.reasons}
            line |= {name: values[start:end] for name, values in listed.items()}
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def started_monitor(model: Model, log: Log | None, shadow: Shadow | None) -> Monitor | None:
    """None if there is nothing to keep: no reference, no log and no shadow."""
    if not (model.reference or log or shadow):
        return None
    monitor = Monitor(model, log, shadow)
    threading.Thread(target=monitor.run, daemon=True, name="monitor").start()
    atexit.register(monitor.drain)
    return monitor
