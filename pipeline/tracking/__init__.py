"""From DVC to MLflow: works for any DVC pipeline; nothing here depends on digits."""
