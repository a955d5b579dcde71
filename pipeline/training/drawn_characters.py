"""Images of characters drawn by strokes, a whole batch at a time: handwriting that the data set does not have.

A hand moves the control points of a template, and slants, turns, stretches and warps the whole; a pen, from a hairline
to a marker, soft or as hard as a pixel editor's, draws it. Size and position are those of MNIST: the longer side is 20
pixels, the centre of mass in the middle. Not covered: textures, shades, paper; preprocessing removes these.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor

from pipeline.data.limits import DIGIT_SIDE, SIDE
from pipeline.training.outlier_templates import LOOKALIKES, OTHERS
from pipeline.training.stroke_templates import DIGITS

POINTS: Final = 64  # along all strokes of a character: neighbours are less than a pixel apart
DENSE: Final = 16  # points of a curve between two of a template's points, before they are spaced evenly
SCRIBBLES: Final = 0.25  # share of the characters that are no digits whose template's points are moved anywhere
LOOKALIKE: Final = 0.02  # share of them that is a letter that many people write like a digit
MIN_SCRIBBLE: Final = 6  # points of a template; fewer give lines that look like a 1
BLOCKS: Final = 0.12  # share that is drawn with blocks of several pixels


class Templates(NamedTuple):
    """Template points `(T, C, 2)`, 0 to 1, padded with zeros, and the weights `(T, POINTS, C)` of each point of the
    line, evenly spaced along it: the line is `weights @ points`."""

    points: Tensor
    weights: Tensor


def draw_digits(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pixels `(count, 1, 28, 28) float, 0 = paper, 1 = ink` and labels `(count,) int64` on the generator's device."""
    templates, labels = _digits(generator.device)
    # Each digit is as frequent as any other, however many templates it has.
    chosen = torch.multinomial(1 / labels.bincount()[labels].float(), count, replacement=True, generator=generator)
    return _draw(templates.points[chosen], templates.weights[chosen], generator), labels[chosen]


def draw_others(count: int, generator: torch.Generator) -> Tensor:
    """Pixels `(count, 1, 28, 28)` of letters, symbols and scribbles."""
    templates, shares = other_templates(generator.device)
    chosen = torch.multinomial(shares, count, replacement=True, generator=generator)
    points = templates.points[chosen]
    has_many = ((points != 0).any(dim=2).sum(dim=1) >= MIN_SCRIBBLE) & (chosen < len(OTHERS))
    anywhere = (has_many & (_uniform((count,), 0, 1, generator) < SCRIBBLES))[:, None, None]
    points = torch.where(anywhere, torch.rand(points.shape, generator=generator, device=generator.device), points)
    return _draw(points, templates.weights[chosen], generator)


@lru_cache
def _digits(device: torch.device) -> tuple[Templates, Tensor]:
    labels = torch.tensor([digit for digit, texts in enumerate(DIGITS) for _ in texts], device=device)
    return parse_templates([text for texts in DIGITS for text in texts], device), labels


@lru_cache
def other_templates(device: torch.device) -> tuple[Templates, Tensor]:
    """The templates of OTHERS and LOOKALIKES, and the share `(T,)` of each."""
    shares = [(1 - LOOKALIKE) / len(OTHERS)] * len(OTHERS) + [LOOKALIKE / len(LOOKALIKES)] * len(LOOKALIKES)
    return parse_templates(OTHERS + LOOKALIKES, device), torch.tensor(shares, device=device)


def parse_templates(texts: Sequence[str], device: torch.device) -> Templates:
    parsed = [_parse(text) for text in texts]
    size = max(len(points) for points, _ in parsed)
    points = torch.zeros(len(texts), size, 2)
    weights = torch.zeros(len(texts), POINTS, size)
    for index, (some, line) in enumerate(parsed):
        points[index, : len(some)], weights[index, :, : len(some)] = some, line
    return Templates(points.to(device), weights.to(device))


def _parse(text: str) -> tuple[Tensor, Tensor]:
    """The points `(C, 2)` of a template and the weights `(POINTS, C)` of its line."""
    marks = [stroke.split() for stroke in text.split("|")]
    numbers = [[float(value) / 100 for value in mark.rstrip("*").split(",")] for stroke in marks for mark in stroke]
    points, curves, first = torch.tensor(numbers), [], 0
    for stroke in marks:
        corners = [index for index, mark in enumerate(stroke) if mark.endswith("*")]
        ends = sorted({0, *corners, len(stroke) - 1})
        curves += [(first + one, first + other) for one, other in pairwise(ends)]
        first += len(stroke)
    rows = torch.cat([_catmull_rom(*curve, len(points)) for curve in curves])
    line = rows @ points
    steps = (line[1:] - line[:-1]).norm(dim=1)
    starts = torch.tensor([len(range(*curve)) * DENSE + 1 for curve in curves]).cumsum(0)[:-1]
    steps[starts - 1] = 0  # the pen is lifted, or already there
    length = torch.cat([torch.zeros(1), steps.cumsum(0)])
    at = torch.linspace(0, float(length[-1]), POINTS)
    upper = torch.searchsorted(length, at).clamp(1, len(length) - 1)
    share = ((at - length[upper - 1]) / (length[upper] - length[upper - 1]).clamp_min(1e-6))[:, None]
    return points, torch.lerp(rows[upper - 1], rows[upper], share)


def _catmull_rom(first: int, last: int, size: int) -> Tensor:
    """Weights `(R, size)` of the points of the spline through the points `first` to `last`."""
    identity = torch.eye(size)[first : last + 1]
    # A mirrored point beyond each end gives the first and the last interval a direction.
    a, b = 2 * identity[:1] - identity[1:2], 2 * identity[-1:] - identity[-2:-1]
    knots = torch.cat([a, identity, b])
    p0, p1, p2, p3 = (knots[n : len(knots) - 3 + n, None] for n in range(4))
    t = torch.arange(DENSE)[None, :, None] / DENSE
    curve = p1 + t / 2 * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * p1 - p0 - 3 * p2 + p3)))
    return torch.cat([curve.reshape(-1, size), identity[-1:]])


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def _normal(shape: tuple[int, ...], deviation: float, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device) * deviation


def _draw(points: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Each `(N, C, 2)` template in another hand and with another pen: `(N, 1, 28, 28)`."""
    count = len(points)
    care = _uniform((count, 1, 1), 0.2, 1.6, generator)
    line = weights @ (points + care * _normal(tuple(points.shape), 0.022, generator))
    line = _warp(line, generator)
    width = torch.where(
        _uniform((count,), 0, 1, generator) < 0.3,
        _uniform((count,), 0.5, 1.6, generator),  # pixels
        _uniform((count,), 1.6, 4.6, generator),
    )
    low, high = line.amin(dim=1), line.amax(dim=1)
    scale = (DIGIT_SIDE - width) / (high - low).amax(dim=1).clamp_min(1e-3)
    line = line * scale[:, None, None]
    line = line - line.mean(dim=1, keepdim=True) + SIDE / 2
    # Where the centre of mass is far from that of the box, the box stays in the image.
    margin = width[:, None] / 2
    line = line + ((margin - line.amin(dim=1)).clamp_min(0) - (line.amax(dim=1) + margin - SIDE).clamp_min(0))[:, None]
    return _render(line, width, generator)


def _warp(line: Tensor, generator: torch.Generator) -> Tensor:
    """The lines `(N, POINTS, 2)` slanted, turned, stretched, and bent by a slow wave along each axis."""
    count = len(line)
    angle, slant = _normal((count,), math.radians(6), generator), _normal((count,), 0.16, generator)
    width = _normal((count,), 0.2, generator).exp()
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([cos * width, sin * width, -slant * cos - sin, cos - slant * sin], dim=1).view(count, 2, 2)
    phase = _uniform((count, 1, 2), 0, 2 * math.pi, generator)
    frequency = _uniform((count, 1, 2), 2, 7, generator)
    bend = _normal((count, 1, 2), 0.025, generator)
    return (line - 0.5 + bend * (frequency * line.flip(2) + phase).sin()) @ matrix


def _render(line: Tensor, width: Tensor, generator: torch.Generator) -> Tensor:
    """Ink `(N, 1, 28, 28)` of the lines `(N, POINTS, 2)`, in pixels, drawn by round pens of these widths `(N,)`."""
    count = len(line)
    side = torch.arange(SIDE, device=line.device) + 0.5
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).view(1, -1, 2)
    is_block = _uniform((count, 1, 1), 0, 1, generator) < BLOCKS
    block = _uniform((count, 1, 1), 1.3, 2.6, generator)
    width = torch.where(is_block[:, 0, 0], 0.6 * width, width)
    centres = torch.where(is_block, ((grid / block).floor() + 0.5) * block, grid)
    start, end = _uniform((2, count, 1), 0.8, 1.2, generator)  # the pressure, which widens the stroke
    pressure = torch.lerp(start, end, torch.linspace(0, 1, POINTS, device=line.device))
    # The nearest point, in units of the pressure: |c - p|² / q² = (|c|² - 2 c·p + |p|²) / q², as one matrix product.
    of_centres = torch.cat([centres, centres.square().sum(2, keepdim=True), torch.ones_like(centres[..., :1])], dim=2)
    of_points = torch.cat([-2 * line, torch.ones_like(line[..., :1]), line.square().sum(2, keepdim=True)], dim=2)
    squared = of_centres.expand(count, -1, -1) @ (of_points / pressure[..., None] ** 2).transpose(1, 2)
    depth = width[:, None] / 2 - squared.amin(dim=2).clamp_min(0).sqrt()
    softness = _uniform((count, 1), 0.5, 2.0, generator)
    ink = (depth / softness + 0.5).clamp(0, 1)
    blocks = ((depth + 0.3 * block[:, :, 0]) > 0).float()
    ink = torch.where(is_block[:, :, 0], blocks, ink)
    # What is thinner than a pixel comes out grey, and preprocessing makes it dark again, more or less.
    strongest = ink.amax(dim=1, keepdim=True).clamp_min(1e-3)
    ink = (ink / strongest * _uniform((count, 1), 0.75, 1.5, generator)).clamp(0, 1)
    return ink.view(count, 1, SIDE, SIDE)
