"""The training of the basic MNIST example in pytorch/examples, reimplemented as a baseline.

Two convolutions (32, 64), dropout, Adadelta from 1.0, multiplied by 0.7 per epoch, batches of 64, 14 epochs, no
augmentation. Its images come from one tensor, as in our training: its own loader, an image at a time, takes longer.
"""

import time
from collections.abc import Iterator
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from pipeline.training.trainer import TensorSplit

EPOCHS: Final = 14
BATCH: Final = 64


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * 12 * 12, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def pixels(images: Tensor) -> Tensor:
    """Images `(N, 28, 28) uint8` scaled with the example's own constants: `(N, 1, 28, 28) float`."""
    return (images.unsqueeze(1).float() / 255 - 0.1307) / 0.3081


def accuracy(model: nn.Module, split: TensorSplit) -> float:
    model.eval()
    with torch.inference_mode():
        hits = [model(pixels(batch)).argmax(dim=1) for batch in split.images.split(1000)]  # type: ignore[no-untyped-call]
    return (torch.cat(hits) == split.labels).float().mean().item()


def train(train_split: TensorSplit, seed: int, epochs: int) -> Iterator[tuple[float, nn.Module]]:
    """Yields after each epoch the seconds of training so far, and the network."""
    torch.manual_seed(seed)
    model = network().to(train_split.images.device)
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = lr_scheduler.StepLR(optimizer, 1, gamma=0.7)
    seconds = 0.0
    for _ in range(epochs):
        started = time.perf_counter()
        model.train()
        for index in torch.randperm(len(train_split.labels)).split(BATCH):  # type: ignore[no-untyped-call]
            loss = F.cross_entropy(model(pixels(train_split.images[index])), train_split.labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        scheduler.step()
        seconds += time.perf_counter() - started
        yield seconds, model
