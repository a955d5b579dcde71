"""Tests that run DVC, MLflow and the stages in a clone."""
