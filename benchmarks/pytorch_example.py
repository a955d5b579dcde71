"""The recipe of the basic MNIST example in pytorch/examples, written anew as a baseline.

Two convolutions (32, 64), dropout, Adadelta from 1.0 falling by 0.7 an epoch, batches of 64, 14 epochs, nothing
augmented. It gets its images from one tensor, as our training does: its own loader, an image at a time, takes longer.
"""

import time
from collections.abc import Iterator
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from pipeline.training.trainer import OnDevice

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
    """Images `(N, 28, 28) uint8` scaled by the example's own constants: `(N, 1, 28, 28) float`."""
    return (images.unsqueeze(1).float() / 255 - 0.1307) / 0.3081


def accuracy(trained: nn.Module, split: OnDevice) -> float:
    trained.eval()
    with torch.inference_mode():
        hits = [trained(pixels(part)).argmax(dim=1) for part in split.images.split(1000)]  # type: ignore[no-untyped-call]
    return (torch.cat(hits) == split.labels).float().mean().item()


def train(train_split: OnDevice, seed: int, epochs: int) -> Iterator[tuple[float, nn.Module]]:
    """After each epoch the seconds of training so far, and the network."""
    torch.manual_seed(seed)
    trained = network().to(train_split.images.device)
    steps = optim.Adadelta(trained.parameters(), lr=1.0)
    schedule = lr_scheduler.StepLR(steps, 1, gamma=0.7)
    seconds = 0.0
    for _ in range(epochs):
        started = time.perf_counter()
        trained.train()
        for index in torch.randperm(len(train_split.labels)).split(BATCH):  # type: ignore[no-untyped-call]
            loss = F.cross_entropy(trained(pixels(train_split.images[index])), train_split.labels[index])
            steps.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            steps.step()
        schedule.step()
        seconds += time.perf_counter() - started
        yield seconds, trained
