"""The exported network under onnxruntime. All that it needs is in the ONNX file."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from pipeline.data.image import preprocess
from pipeline.data.limits import COLOURS, Preprocessing, image_shape
from pipeline.monitoring.reference import KEY, Reference, parse_reference
from serving import integrity

BATCH_SIZE: Final = 128  # images per run: more are no faster, and their activations take memory
TOLERANCE: Final = 1e-4  # of a probability or a score; the same as in the export stage

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


class Model:
    """`tag` is the model's name and version in every answer, `labels` its origin (schemas.LABELS), `classes` the
    class names in the order of the outputs. An image whose digit score is below `threshold` shows none of them;
    `preprocessing` names how a picture becomes an image, which has as many `channels` as the ONNX file says;
    `reference` tells how the test images are distributed.

    Raises DamagedModelError if the file does not have the SHA-256 that `labels` name. Without labels any file is taken.
    """

    def __init__(self, path: Path, tag: str, labels: Mapping[str, str] | None = None) -> None:
        import onnxruntime  # only when a model is loaded: BentoML's supervisor loads none

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the network is too small to be worth a second core
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.path = path
        content = integrity.read_file(path, labels["sha256"]) if labels else path.read_bytes()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.tag = tag
        self.labels = dict(labels or {})
        self.dataset: str = metadata["dataset"]
        self.classes: tuple[str, ...] = tuple(json.loads(metadata["classes"]))
        self.has_scores = len(self.session.get_outputs()) > 1  # models of earlier releases have none
        self.threshold = float(metadata.get("threshold", 0))
        self.preprocessing = cast(Preprocessing, metadata.get("preprocessing", "ink"))
        self.channels = COLOURS if len(self.session.get_inputs()[0].shape) == 1 + len(image_shape(COLOURS)) else 1
        self.reference = stored_reference(metadata, tag)
        self._golden_images, *self._golden_answers = golden_answers(metadata, self.channels)

    @property
    def classifies_digits(self) -> bool:
        return self.classes == tuple("0123456789")

    def classify(self, images: Images) -> tuple[Probabilities, Scores]:
        """`(N, 28, 28) uint8, 0 = paper, 255 = ink`, or in colour `(N, 28, 28, 3)`, to probabilities `(N, classes)`,
        given that an image shows one of the classes, each row summing to 1; and to digit scores `(N,)`, 0 to 1, how
        probable it is that it does."""
        batches = [self._run(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)]
        if len(batches) == 1:
            return batches[0]
        probabilities, scores = zip(*batches, strict=True)
        return np.concatenate(probabilities), np.concatenate(scores)

    def _run(self, images: Images) -> tuple[Probabilities, Scores]:
        outputs = self.session.run(None, {"images": images})
        return outputs[0], outputs[1] if self.has_scores else np.ones(len(images), np.float32)

    def reproduces_golden(self) -> bool:
        """Whether preprocessing (when the service started) and model (now) give the golden pictures, one of each class,
        the answers that the trained network gave."""
        answers = zip(self.classify(self._golden_images), self._golden_answers, strict=True)
        return all(bool(np.abs(answer - golden).max() <= TOLERANCE) for answer, golden in answers)


def stored_reference(metadata: Mapping[str, str], tag: str) -> Reference | None:
    """None for a model that was exported without one: a rollback has to serve it."""
    return parse_reference(json.loads(metadata[KEY]), tag) if KEY in metadata else None


def golden_answers(metadata: Mapping[str, str], channels: int) -> tuple[Images, Probabilities, Scores]:
    """The preprocessed golden pictures `(N, 28, 28[, 3]) uint8`, and the probabilities `(N, classes)` and the scores
    `(N,)` that they must get."""
    if "golden_pictures" in metadata:
        pictures, probabilities = json.loads(metadata["golden_pictures"]), json.loads(metadata["golden_probabilities"])
    else:  # a model that was exported when there was one golden picture: a rollback has to serve it
        pictures, probabilities = [metadata["golden_picture"]], [json.loads(metadata["golden_probabilities"])]
    scores = json.loads(metadata["golden_scores"]) if "golden_scores" in metadata else [1.0] * len(pictures)
    method = cast(Preprocessing, metadata.get("preprocessing", "ink"))
    images = np.stack([preprocess(base64.b64decode(picture), method, channels).image for picture in pictures])
    return images, np.array(probabilities, np.float32), np.array(scores, np.float32)
