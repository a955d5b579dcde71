"""A second model that answers the same images, after the answers have been sent, and that nobody hears: how often it
agrees is counted.

Environment: SHADOW_MODEL, an ONNX file whose name is the tag in /metrics; SHADOW_SHARE, the share of one core that it
may take, 0.1 if left out. Images for which there is no time are counted and left out. No failure breaks an answer.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.monitoring.reference import NONE
from serving.http import metrics
from serving.model import Images, Model, Probabilities, Scores

SHARE: Final = 0.1
BURST: Final = 0.5  # seconds of processor time that may be saved up
CHUNK: Final = 32  # images after which the time is looked at: a millisecond

log = logging.getLogger("serving")


class Budget:
    """Processor time: `share` of the time that passes, saved up to BURST."""

    def __init__(self, share: float) -> None:
        self.share, self.saved, self.at = share, BURST * share, time.monotonic()

    def has_time(self) -> bool:
        now = time.monotonic()
        self.saved, self.at = min(BURST, self.saved + self.share * (now - self.at)), now
        return self.saved > 0

    def spend(self, seconds: float) -> None:
        self.saved -= seconds


class Shadow:
    """Counts how often `model` says what the champion says, of the images that show ink."""

    def __init__(self, model: Model, share: float) -> None:
        self.model, self.budget, self.names = model, Budget(share), (*model.classes, NONE)
        metrics.SHADOW_MODEL.labels(model.tag).set(1)

    def compare(self, champion: Model, images: Images, probabilities: Probabilities, scores: Scores) -> None:
        """Count the agreement with what the champion's network said. Never raises."""
        has_ink = np.asarray(images.any(axis=tuple(range(1, images.ndim))))
        images, said = images[has_ink], labels(champion, probabilities[has_ink], scores[has_ink])
        done = 0
        try:
            while done < len(images) and self.budget.has_time():
                chunk = slice(done, done + CHUNK)
                started = time.thread_time()
                answers = labels(self.model, *self.model.classify(images[chunk]))
                self.budget.spend(time.thread_time() - started)
                done += len(answers)
                for (label, other), count in Counter(zip(said[chunk].tolist(), answers.tolist(), strict=True)).items():
                    agrees = "true" if label == other else "false"
                    metrics.SHADOW.labels(self.names[label], self.names[other], agrees).inc(count)
        except Exception:
            log.exception("the shadow model %s failed", self.model.tag)
        metrics.SHADOW_SKIPPED.inc(len(images) - done)


def labels(model: Model, probabilities: Probabilities, scores: Scores) -> npt.NDArray[np.int64]:
    """What the network says of each image: its label, or the number of classes for none."""
    return np.where(scores < model.threshold, len(model.classes), probabilities.argmax(axis=1))


def configured(champion: Model, environment: Mapping[str, str]) -> Shadow | None:
    """The shadow that the environment names, if any. One that cannot be had is logged, and the service does without."""
    name, share = environment.get("SHADOW_MODEL"), environment.get("SHADOW_SHARE", str(SHARE))
    if not name:
        return None
    try:
        if not 0 < float(share) <= 1:
            raise ValueError(f"SHADOW_SHARE: got {share!r}, expected a share of a core, above 0 and at most 1")
        model = Model(Path(name), Path(name).stem)
        if model.classes != champion.classes:
            raise ValueError(f"got the classes {', '.join(model.classes)}, expected those of {champion.tag}")
        if model.channels != champion.channels:
            raise ValueError(f"got {model.channels} channels, expected {champion.channels} as {champion.tag} has")
    except Exception as error:  # whatever onnxruntime raises for a file that is no model
        log.error("no shadow model: SHADOW_MODEL=%s: %s", name, error)
        return None
    return Shadow(model, float(share))
