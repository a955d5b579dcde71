"""`make search`: hyperparameters tuned with Optuna, judged by the validation images; the test images are not read."""
