"""Random transformations of images that preserve their labels: different for each image, a whole batch at a time."""

import math
from typing import Annotated, Final

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pipeline.core.config import Section
from pipeline.data.limits import SIDE

CONTROL_POINTS: Final = 6  # per side of the elastic distortion's grid, about five pixels apart


class AugmentationParams(Section):
    shift: Annotated[float, Field(ge=0, le=8)]
    """Maximum shift along each axis, in pixels."""
    rotation: Annotated[float, Field(ge=0, le=45)]
    """Maximum rotation in either direction, in degrees."""
    scale: Annotated[float, Field(ge=0, le=0.5)]
    """Maximum relative change of size; the aspect ratio changes by up to half of it."""
    shear: Annotated[float, Field(ge=0, le=0.5)]
    """Maximum slant in either direction, in pixels per pixel."""
    elastic: Annotated[float, Field(ge=0, le=4)]
    """Standard deviation of the displacement of each control point along each axis, in pixels."""
    stroke: Annotated[float, Field(ge=0, le=1)]
    """Maximum change of stroke width in either direction: 1 is a pixel on each side of the stroke."""
    erase: Annotated[int, Field(ge=0, le=20)]
    """Side of a square at a random position that is erased to paper, in pixels; 0: none."""
    mirror: bool
    """Whether half of the images, at random, are mirrored left to right; never for digits."""

    @property
    def moves(self) -> bool:
        return any((self.shift, self.rotation, self.scale, self.shear, self.elastic, self.mirror))


def augment(pixels: Tensor, params: AugmentationParams, generator: torch.Generator) -> Tensor:
    """Transform each of `(N, C, 28, 28) float, 0 = paper, 1 = ink` by random amounts, as `params` describes them.

    `generator` is on the same device as `pixels`.
    """
    if params.stroke:
        pixels = _change_stroke(pixels, _uniform(len(pixels), params.stroke, generator))
    if params.moves:
        outside = "zeros" if pixels.shape[1] == 1 else "border"  # paper, whatever its colour
        pixels = F.grid_sample(pixels, _grid(len(pixels), params, generator), padding_mode=outside, align_corners=False)
    if params.erase:
        pixels = _erase(pixels, params.erase, generator)
    return pixels


def _uniform(count: int, largest: float, generator: torch.Generator) -> Tensor:
    """`(count,)` amounts from `-largest` to `largest`."""
    return (torch.rand(count, generator=generator, device=generator.device) * 2 - 1) * largest


def _grid(count: int, params: AugmentationParams, generator: torch.Generator) -> Tensor:
    """The sampling grid, where each pixel comes from: `(count, 28, 28, 2)`, from -1 to 1, right and down."""

    def amount(largest: float) -> Tensor:
        return _uniform(count, largest, generator)

    angle, slant = amount(math.radians(params.rotation)), amount(params.shear)
    size, aspect = amount(params.scale).exp(), amount(params.scale / 2).exp()
    right, down = amount(2 * params.shift / SIDE), amount(2 * params.shift / SIDE)  # in normalized coordinates
    cos, sin = angle.cos(), angle.sin()
    across = torch.stack([cos * size * aspect, (slant * cos - sin) * size, right], dim=1)
    along = torch.stack([sin * size * aspect, (slant * sin + cos) * size, down], dim=1)
    grid = F.affine_grid(torch.stack([across, along], dim=1), [count, 1, SIDE, SIDE], align_corners=False)
    if params.elastic:
        # Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003, with a field that is
        # smooth because it interpolates few points, instead of a field that is smoothed by a filter.
        shape = (count, 2, CONTROL_POINTS, CONTROL_POINTS)
        offsets = torch.randn(shape, generator=generator, device=generator.device) * (2 * params.elastic / SIDE)
        field = F.interpolate(offsets, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    if params.mirror:
        grid = grid * torch.stack([amount(1.0).sign(), torch.ones_like(angle)], dim=1)[:, None, None, :]
    return grid


def _change_stroke(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Blend each image with its dilation where `amounts` `(N,)` are positive, with its erosion where negative."""
    weight = amounts[:, None, None, None]
    dilated, eroded = F.max_pool2d(pixels, 3, 1, 1), -F.max_pool2d(-pixels, 3, 1, 1)
    return torch.lerp(pixels, torch.where(weight > 0, dilated, eroded), weight.abs())


def _erase(pixels: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Erase a square whose centre is anywhere in the image (DeVries and Taylor, "Cutout", 2017)."""
    positions = torch.arange(SIDE, device=pixels.device)

    def outside() -> Tensor:
        centres = torch.randint(SIDE, (len(pixels), 1), generator=generator, device=generator.device)
        return (positions - centres + side // 2).div(side, rounding_mode="floor") != 0

    return pixels * (outside()[:, None, :, None] | outside()[:, None, None, :])
