"""What a running service records of its answers: a window for /metrics, and the prediction log."""
