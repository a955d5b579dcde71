"""Whether what a service answers is still like what its model was scored on: the reference, logs, drift."""
