"""Random changes to images that leave what they show what it is: each image its own, a whole batch at a time."""

import math
from typing import Annotated, Final

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.core.config import Section
from pipeline.data.image import SIDE

HANDLES: Final = 6  # a side; the points by which an elastic image is pulled, about five pixels from each other


class AugmentationParams(Section):
    shift: Annotated[float, Field(ge=0, le=8)]
    """Largest shift along each axis, in pixels."""
    rotation: Annotated[float, Field(ge=0, le=45)]
    """Largest rotation either way, in degrees."""
    scale: Annotated[float, Field(ge=0, le=0.5)]
    """Largest change of size, as a share; height and width change by up to half of it against each other."""
    shear: Annotated[float, Field(ge=0, le=0.5)]
    """Largest slant either way, in pixels per pixel."""
    elastic: Annotated[float, Field(ge=0, le=4)]
    """Standard deviation by which each of a few points across the image is pulled along each axis, in pixels."""
    stroke: Annotated[float, Field(ge=0, le=1)]
    """Largest change of the pen's width either way: 1 is a pixel on each side of the stroke."""
    erase: Annotated[int, Field(ge=0, le=20)]
    """Side of a square, put anywhere, that becomes paper, in pixels; 0: none."""
    mirror: bool
    """Whether every other image is mirrored left to right; never for digits."""

    @property
    def moves(self) -> bool:
        return any((self.shift, self.rotation, self.scale, self.shear, self.elastic, self.mirror))


def augment(pixels: Tensor, settings: AugmentationParams, generator: torch.Generator) -> Tensor:
    """Change each of `(N, 1, 28, 28) float, 0 = paper, 1 = ink` by amounts of its own, uniform within `settings`.

    `generator` lives on the same device as `pixels`.
    """
    if settings.stroke:
        pixels = _restroke(pixels, _uniform(len(pixels), settings.stroke, generator))
    if settings.moves:
        pixels = F.grid_sample(pixels, _grid(len(pixels), settings, generator), align_corners=False)
    if settings.erase:
        pixels = _erase(pixels, settings.erase, generator)
    return pixels


def _uniform(count: int, largest: float, generator: torch.Generator) -> Tensor:
    """`(count,)` amounts from `-largest` to `largest`."""
    return (torch.rand(count, generator=generator, device=generator.device) * 2 - 1) * largest


def _grid(count: int, settings: AugmentationParams, generator: torch.Generator) -> Tensor:
    """Where each pixel of each image comes from: `(count, 28, 28, 2)`, from -1 to 1, right and down."""

    def amount(largest: float) -> Tensor:
        return _uniform(count, largest, generator)

    angle, slant = amount(math.radians(settings.rotation)), amount(settings.shear)
    size, aspect = amount(settings.scale).exp(), amount(settings.scale / 2).exp()
    right, down = amount(2 * settings.shift / SIDE), amount(2 * settings.shift / SIDE)  # in half-images
    cos, sin = angle.cos(), angle.sin()
    across = torch.stack([cos * size * aspect, (slant * cos - sin) * size, right], dim=1)
    along = torch.stack([sin * size * aspect, (slant * sin + cos) * size, down], dim=1)
    grid = F.affine_grid(torch.stack([across, along], dim=1), [count, 1, SIDE, SIDE], align_corners=False)
    if settings.elastic:
        # Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003, with a field that is
        # smooth because few points are drawn, instead of one that is smoothed.
        shape = (count, 2, HANDLES, HANDLES)
        pulls = torch.randn(shape, generator=generator, device=generator.device) * (2 * settings.elastic / SIDE)
        field = F.interpolate(pulls, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    if settings.mirror:
        grid = grid * torch.stack([amount(1.0).sign(), torch.ones_like(angle)], dim=1)[:, None, None, :]
    return grid


def _restroke(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Strokes wider by `amounts` `(N,)` where positive, thinner where negative: the image mixed with its extremes."""
    by = amounts[:, None, None, None]
    wider, thinner = F.max_pool2d(pixels, 3, 1, 1), -F.max_pool2d(-pixels, 3, 1, 1)
    return torch.lerp(pixels, torch.where(by > 0, wider, thinner), by.abs())


def _erase(pixels: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square of paper, its middle anywhere in the image (DeVries and Taylor, "Cutout", 2017)."""
    places = torch.arange(SIDE, device=pixels.device)

    def away() -> Tensor:
        middles = torch.randint(SIDE, (len(pixels), 1), generator=generator, device=generator.device)
        return (places - middles + side // 2).div(side, rounding_mode="floor") != 0

    return pixels * (away()[:, None, :, None] | away()[:, None, None, :])
