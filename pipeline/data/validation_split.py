"""The validation split: which training images are held out from training."""

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError


def validation_mask(
    labels: npt.NDArray[np.uint8], share: float, seed: int, key: str = "normalise.validation_share"
) -> npt.NDArray[np.bool_]:
    """`(N,) bool`: True for the images of the validation split, stratified: `share` of each class, at least one image.

    Raises DataError, naming the parameter `key` that gives the share, if a class is too small to be split.
    """
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(share * len(members)))
        if count == len(members):
            raise DataError(
                f"params.yaml: {key}: got {share}, which leaves none of the {len(members)} images "
                f"of class {label} to train on"
            )
        mask[rng.permutation(members)[:count]] = True
    return mask
