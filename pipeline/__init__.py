"""Handwritten digits, from raw archives to a registered model: one module per DVC stage, and the leaves they share."""

import os

# onnxruntime reports to its makers from the moment it is imported, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
