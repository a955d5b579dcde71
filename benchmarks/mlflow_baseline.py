"""A baseline: `mlflow models serve` of the same ONNX file. `python -m benchmarks.mlflow_baseline PORT`."""

import os
import sys
import tempfile
from pathlib import Path

import mlflow.onnx

from pipeline.tracking.registry import onnx_arguments

MODEL = Path("artifacts/export/model.onnx")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="mlflow-baseline-")) / "model"
    mlflow.onnx.save_model(path=str(folder), **onnx_arguments(MODEL))
    address = ["--host", "127.0.0.1", "--port", sys.argv[1]]
    os.execvp("mlflow", ["mlflow", "models", "serve", "--model-uri", str(folder), "--env-manager", "local", *address])


if __name__ == "__main__":
    main()
