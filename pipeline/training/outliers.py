"""Images that show none of the classes, made up from a batch: what the network learns to refuse from.

Hendrycks, Mazeika and Dietterich, "Deep anomaly detection with outlier exposure", 2019, with outliers that need no
other data set: parts of the batch's own images put together wrongly, noise, and characters drawn by strokes.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.limits import SIDE
from pipeline.training.drawn_characters import draw_others

DRAWN: Final = 0.55  # share of drawn characters, if the classes are digits
OBJECT_PARTS: Final = 6
NOISE_SIDES: Final = (3, 5, 8, 14, 28)  # pixels of noise, enlarged to the image


def make_outliers(images: Tensor, labels: Tensor, count: int, are_digits: bool, generator: torch.Generator) -> Tensor:
    """`(count, C, 28, 28)` pixels of outliers from `images` `(N, C, 28, 28) float, 0 = paper, 1 = ink`.

    `are_digits`: other characters and objects are outliers, too; they have one channel.
    """
    drawn = round(DRAWN * count) if are_digits else 0
    order = torch.randint(len(images), (2, count - drawn), generator=generator, device=images.device)
    one, other = images[order]
    alone = [tiles(one, generator), noise(one, generator), inverted(one, generator)]
    if are_digits:
        alone += [silhouettes(one, generator), objects(one, generator)]
    pairs = [overlaid(one, other, generator), side_by_side(one, other), halves(one, other, generator)]
    kind = torch.randint(len(alone + pairs), order.shape[1:], generator=generator, device=images.device)
    # Two halves of zeros may be a zero.
    kind = torch.where((labels[order[0]] == labels[order[1]]) & (kind >= len(alone)), kind - len(alone), kind)
    made = torch.stack(alone + pairs)[kind, torch.arange(len(kind), device=images.device)]
    return torch.cat([draw_others(drawn, generator), made]) if drawn else made


def tiles(images: Tensor, generator: torch.Generator) -> Tensor:
    """Cut into 2×2 or 4×4 tiles, which are put together in another order."""
    count = len(images)
    fine = torch.rand(count, generator=generator, device=images.device) < 0.5
    return torch.where(fine[:, None, None, None], _shuffled(images, 4, generator), _shuffled(images, 2, generator))


def _shuffled(images: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    side = SIDE // parts
    cut = F.unfold(images, side, stride=side)  # (N, pixels of a tile, tiles)
    order = torch.rand(len(images), parts**2, generator=generator, device=images.device).argsort(dim=1)
    return F.fold(cut.gather(2, order[:, None].expand_as(cut)), SIDE, side, stride=side)


def noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of several scales, from even grey to blots; half of it in an ellipse, with paper around."""
    (count, channels), device = images.shape[:2], images.device
    total = torch.zeros(count, channels, SIDE, SIDE, device=device)
    for side in NOISE_SIDES:
        layer = torch.randn(count, channels, side, side, generator=generator, device=device)
        weight = torch.rand(count, 1, 1, 1, generator=generator, device=device)
        enlarged = F.interpolate(layer, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        total = total + weight**3 * enlarged
    contrast = 3 * torch.rand(count, 1, 1, 1, generator=generator, device=device) ** 2
    level = torch.rand(count, 1, 1, 1, generator=generator, device=device)
    axis = torch.linspace(-1, 1, SIDE, device=device)
    radii = 0.3 + 0.6 * torch.rand(2, count, 1, 1, 1, generator=generator, device=device)
    inside = (axis[None, None, :, None] / radii[0]) ** 2 + (axis / radii[1]) ** 2 < 1
    whole = torch.rand(count, 1, 1, 1, generator=generator, device=device) < 0.5
    return (level + contrast * total).clamp(0, 1) * (inside | whole)


def silhouettes(images: Tensor, generator: torch.Generator) -> Tensor:
    """Filled shapes with soft shades, half of them symmetrical, as objects are."""
    count, device = len(images), images.device
    outline, shade = torch.randn(2, count, 1, 6, 6, generator=generator, device=device)
    outline, shade = (F.interpolate(part, size=(SIDE, SIDE), mode="bicubic") for part in (outline, shade))
    symmetrical = torch.rand(count, 1, 1, 1, generator=generator, device=device) < 0.5
    outline = torch.where(symmetrical, (outline + outline.flip(3)) / 2, outline)
    axis = torch.linspace(-1.4, 1.4, SIDE, device=device)
    radii = 0.5 + 0.5 * torch.rand(2, count, 1, 1, 1, generator=generator, device=device)
    inside = 1 - (axis[None, None, :, None] / radii[0]) ** 2 - (axis / radii[1]) ** 2 + 0.9 * outline
    contrast = torch.rand(count, 1, 1, 1, generator=generator, device=device)
    margin = (axis.abs() < 1.05)[:, None] & (axis.abs() < 1.05)
    return (8 * inside).sigmoid() * (0.8 + 0.5 * contrast * shade).clamp(0, 1) * margin


def objects(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rounded and angular parts of different shades, one upon another; a part as light as paper is a hole. Half are
    symmetrical."""
    count, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(OBJECT_PARTS, count, 1, 1, 1, generator=generator, device=device)

    axis = torch.linspace(-1.4, 1.4, SIDE, device=device)
    across, down = axis.expand(count, 1, SIDE, SIDE), axis[:, None].expand(count, 1, SIDE, SIDE)
    symmetrical = torch.rand(count, 1, 1, 1, generator=generator, device=device) < 0.5
    across = torch.where(symmetrical, across.abs(), across)
    x, y, angle = across - uniform(-0.7, 0.7), down - uniform(-0.7, 0.7), uniform(-0.8, 0.8)
    u = (angle.cos() * x + angle.sin() * y) / uniform(0.15, 0.8)
    v = (angle.cos() * y - angle.sin() * x) / uniform(0.15, 0.8)
    radius = torch.where(uniform(0, 1) < 0.5, torch.hypot(u, v), torch.maximum(u.abs(), v.abs()))
    inside = (12 * (1 - radius)).sigmoid()
    shades = uniform(0, 1) * (uniform(0, 1) < 0.7)
    shades[0] = 1
    made = torch.zeros_like(across)
    for part, shade in zip(inside, shades, strict=True):
        made = torch.lerp(made, shade.expand_as(part), part)
    made = made * ((axis.abs() < 1.05)[:, None] & (axis.abs() < 1.05))
    return made / made.amax(dim=(2, 3), keepdim=True).clamp_min(0.2)


def overlaid(one: Tensor, other: Tensor, generator: torch.Generator) -> Tensor:
    """One image on top of another, half of the pairs moved apart by a few pixels."""
    moved = torch.rand(len(one), 1, 1, 1, generator=generator, device=one.device) < 0.5
    return torch.maximum(torch.where(moved, one.roll((-3, -4), (2, 3)), one), other.roll((2, 3), (2, 3)))


def side_by_side(one: Tensor, other: Tensor) -> Tensor:
    """Two images beside each other, each at two thirds of its size."""
    pair = torch.cat([one[..., 4:-4], other[..., 4:-4]], dim=3)
    small = F.interpolate(pair, size=(SIDE * 7 // 10, SIDE), mode="bilinear", align_corners=False, antialias=True)
    missing = SIDE - small.shape[2]
    return F.pad(small, (0, 0, missing // 2, missing - missing // 2)).clamp(0, 1)


def halves(one: Tensor, other: Tensor, generator: torch.Generator) -> Tensor:
    """The left half of one image beside the left half of another, mirrored or not; or the same of upper halves."""
    half = SIDE // 2
    mirrored = torch.rand(len(one), 1, 1, 1, generator=generator, device=one.device) < 0.5
    left = torch.cat([one[..., :half], torch.where(mirrored, other[..., :half].flip(3), other[..., :half])], dim=3)
    top, below = one[..., :half, :], other[..., :half, :]
    upper = torch.cat([top, torch.where(mirrored, below.flip(2), below)], dim=2)
    upright = torch.rand(len(one), 1, 1, 1, generator=generator, device=one.device) < 0.5
    return torch.where(upright, left, upper)


def inverted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Ink and paper exchanged, half of them with the paper around the ink left as it was."""
    framed = F.pad(1 - images[..., 3:-3, 3:-3], (3, 3, 3, 3))
    whole = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(whole, 1 - images, framed)
