"""From DVC to MLflow: works for any DVC pipeline, and knows nothing about digits."""
