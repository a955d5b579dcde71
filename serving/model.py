"""The exported network under onnxruntime. All that it needs is in the ONNX file."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.data.image import preprocess

BATCH_SIZE: Final = 128  # images per run: more are no faster, and their activations take memory
TOLERANCE: Final = 1e-4  # of a probability; the same as in the export stage

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


class Model:
    """`tag` is the model's name and version in every answer, `labels` its origin (run, commit, data), `classes` the
    class names in the order of the outputs."""

    def __init__(self, path: Path, tag: str, labels: Mapping[str, str] | None = None) -> None:
        import onnxruntime  # only when a model is loaded: BentoML's supervisor loads none

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the network is too small to be worth a second core
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.path = path
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.tag = tag
        self.labels = dict(labels or {})
        self.dataset: str = metadata["dataset"]
        self.classes: tuple[str, ...] = tuple(json.loads(metadata["classes"]))
        self._golden_picture = base64.b64decode(metadata["golden_picture"])
        self._golden_probabilities = np.array(json.loads(metadata["golden_probabilities"]), np.float32)

    @property
    def classifies_digits(self) -> bool:
        return self.classes == tuple("0123456789")

    def probabilities(self, images: Images) -> Probabilities:
        """`(N, 28, 28) uint8, 0 = paper, 255 = ink` to `(N, classes) float32`, each row summing to 1."""
        batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
        outputs: list[Probabilities] = [self.session.run(["probabilities"], {"images": batch})[0] for batch in batches]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def reproduces_golden(self) -> bool:
        """Whether preprocessing and model give the golden picture the probabilities that the trained network gave."""
        (probabilities,) = self.probabilities(preprocess(self._golden_picture)[None])
        return bool(np.abs(probabilities - self._golden_probabilities).max() <= TOLERANCE)
