"""What tests share: small synthetic digits, drawn in process."""

import numpy as np
import pytest

from pipeline.dataset import Split
from tests.pen import synthetic_images


@pytest.fixture(scope="session")
def digits() -> Split:
    """200 images like MNIST's, twenty of each digit, in an order that mixes them."""
    labels = np.tile(np.arange(10, dtype=np.uint8), 20)
    return Split(synthetic_images(labels, np.random.default_rng(7)), labels)
