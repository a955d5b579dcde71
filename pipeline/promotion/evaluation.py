"""A registered model, run by onnxruntime on the images on which two models are compared."""

import base64
import json
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import onnxruntime

from pipeline.core.errors import TrackingError
from pipeline.data.image import preprocess
from pipeline.data.limits import COLOURS, Preprocessing, image_shape
from pipeline.promotion.images import Images
from pipeline.reports.predictions import Predictions

BATCH_SIZE: Final = 256
WARM_UP: Final = 20
RUNS: Final = 200  # of one image
PARTS: Final = ("pictures", "probabilities", "scores")  # of the golden answers

Pixels = npt.NDArray[np.uint8]


class Evaluation(NamedTuple):
    """What a model answers, and what it costs."""

    validation: Predictions
    handwriting: Predictions
    latency_ms: float
    size_mb: float
    golden_difference: float
    """Largest difference of a probability or score from the golden answers; infinite if the file has none."""


class OnnxModel:
    """All that it needs is in the ONNX file; its images are `(28, 28)` or `(28, 28, 3)`.

    Raises TrackingError, naming `version`, if onnxruntime cannot load it.
    """

    def __init__(self, content: bytes, version: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.size_mb = len(content) / 1e6
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
            self.classes: tuple[str, ...] = tuple(json.loads(self.metadata["classes"]))
            self.preprocessing = cast(Preprocessing, self.metadata.get("preprocessing", "ink"))
            self.image_shape: tuple[int, ...] = tuple(self.session.get_inputs()[0].shape[1:])
        except Exception as error:  # onnxruntime's errors have no common base, nor have those of metadata that lacks
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise TrackingError(f"{version}: expected an ONNX file as `export` writes it, got: {reason}") from error

    def run(self, images: Pixels) -> list[npt.NDArray[np.float32]]:
        """Probabilities `(N, classes)` and scores `(N,)` of images of its shape; 1 from models without scores."""
        outputs = self.session.run(None, {"images": images})
        return [outputs[0], outputs[1] if len(outputs) > 1 else np.ones(len(images), np.float32)]

    def predict(self, images: Pixels) -> Predictions:
        starts = range(0, max(1, len(images)), BATCH_SIZE)
        probabilities, scores = zip(*(self.run(images[start : start + BATCH_SIZE]) for start in starts), strict=True)
        threshold = float(self.metadata.get("threshold", 0))
        return Predictions(np.concatenate(probabilities), np.concatenate(scores), threshold)

    def golden_difference(self) -> float:
        """See Evaluation."""
        if "golden_scores" not in self.metadata:
            return float("inf")
        pictures, *golden = (json.loads(self.metadata[f"golden_{part}"]) for part in PARTS)
        channels = COLOURS if len(self.image_shape) == len(image_shape(COLOURS)) else 1
        contents = [base64.b64decode(picture) for picture in pictures]
        images = np.stack([preprocess(content, self.preprocessing, channels).image for content in contents])
        answers = zip(self.run(images), golden, strict=True)
        return float(np.max([np.abs(answer - np.array(expected, np.float32)).max() for answer, expected in answers]))


def latencies(models: Sequence[OnnxModel]) -> list[float]:
    """Median milliseconds of one image on one thread. The models take turns, so that other work slows all of them."""
    image = np.zeros((1, *models[0].image_shape), np.uint8)
    seconds = np.empty((WARM_UP + RUNS, len(models)))
    for row in seconds:
        for column, model in enumerate(models):
            start = time.perf_counter()
            model.run(image)
            row[column] = time.perf_counter() - start
    return [float(median) for median in 1000 * np.median(seconds[WARM_UP:], axis=0)]


def evaluate(models: Sequence[OnnxModel], images: Images) -> list[Evaluation]:
    """The evaluations of the models on the same images, in the same order."""
    return [
        Evaluation(
            model.predict(images.validation.images),
            model.predict(images.handwriting.images),
            latency,
            model.size_mb,
            model.golden_difference(),
        )
        for model, latency in zip(models, latencies(models), strict=True)
    ]
