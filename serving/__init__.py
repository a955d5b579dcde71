"""The prediction service: BentoML runs it, onnxruntime answers.

Nothing here imports torch, mlflow, dvc or matplotlib.
"""

import os

# onnxruntime reports to its makers from the moment it is imported, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
