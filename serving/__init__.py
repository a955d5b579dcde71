"""The prediction service: served by BentoML, inference by onnxruntime.

Nothing here imports torch, mlflow, dvc or matplotlib.
"""

import os

# onnxruntime sends telemetry from its import on, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
