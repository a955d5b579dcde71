"""A baseline: LitServe as in its own examples, one worker, JSON. `python -m benchmarks.litserve_baseline PORT`."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Digits(litserve.LitAPI):  # type: ignore[misc]  # LitServe has no types
    def setup(self, device: str) -> None:
        self.session = onnxruntime.InferenceSession("artifacts/export/model.onnx", providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.array(request["images"], np.uint8)

    def predict(self, images: Any) -> Any:
        return self.session.run(["probabilities"], {"images": images})[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
