"""A baseline: BentoML as in its own examples, with a synchronous API, an ndarray in JSON and default settings.
`bentoml serve benchmarks.bentoml_baseline:Baseline`."""

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Baseline:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession("artifacts/export/model.onnx", providers=["CPUExecutionProvider"])

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, images: np.ndarray) -> np.ndarray:  # as in its examples
        return self.session.run(["probabilities"], {"images": images.astype(np.uint8)})[0]  # type: ignore[no-any-return]
