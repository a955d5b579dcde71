"""The training loop, its settings and its state; augmentation, optimizers, device, processes, checkpoints."""
