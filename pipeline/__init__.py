"""Handwritten digits, from raw archives to a registered model: one module per DVC stage, and the leaves they share."""
