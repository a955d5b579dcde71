"""Random changes to images that leave the digit what it is: each image its own, a whole batch at a time."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.image import SIDE
from pipeline.params import Section


class AugmentationParams(Section):
    shift: Annotated[float, Field(ge=0, le=8)]
    """Largest shift along each axis, in pixels."""
    rotation: Annotated[float, Field(ge=0, le=45)]
    """Largest rotation either way, in degrees."""
    scale: Annotated[float, Field(ge=0, le=0.5)]
    """Largest change of size, as a share; height and width change by up to half of it against each other."""
    shear: Annotated[float, Field(ge=0, le=0.5)]
    """Largest slant either way, in pixels per pixel."""

    @property
    def is_on(self) -> bool:
        return any((self.shift, self.rotation, self.scale, self.shear))


def augment(pixels: Tensor, settings: AugmentationParams, generator: torch.Generator) -> Tensor:
    """Shift, turn, scale and slant each of `(N, 1, 28, 28) float` by amounts of its own, uniform within `settings`.

    `generator` lives on the same device as `pixels`. Digits are never mirrored.
    """
    if not settings.is_on:
        return pixels

    def amount(largest: float) -> Tensor:
        return (torch.rand(len(pixels), generator=generator, device=pixels.device) * 2 - 1) * largest

    angle, slant = amount(math.radians(settings.rotation)), amount(settings.shear)
    size, aspect = amount(settings.scale).exp(), amount(settings.scale / 2).exp()
    right, down = amount(2 * settings.shift / SIDE), amount(2 * settings.shift / SIDE)  # in half-images
    cos, sin = angle.cos(), angle.sin()
    across = torch.stack([cos * size * aspect, (slant * cos - sin) * size, right], dim=1)
    along = torch.stack([sin * size * aspect, (slant * sin + cos) * size, down], dim=1)
    grid = F.affine_grid(torch.stack([across, along], dim=1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)
