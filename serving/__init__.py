"""The prediction service: BentoML runs it, onnxruntime answers.

Nothing here imports torch, mlflow, dvc or matplotlib.
"""
