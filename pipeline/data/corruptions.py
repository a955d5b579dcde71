"""The fifteen corruptions of MNIST-C, which leave a digit readable for people and mislead networks.

Mu and Gilmer, "MNIST-C: a robustness benchmark for computer vision", 2019. The corruptions and about their strengths
are theirs, the random numbers and the code are not: figures are near those for the published files, not equal to them.
"""

import copy
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.data.limits import SIDE

Pixels = npt.NDArray[np.float64]  # (N, 28, 28), 0 = paper, 1 = ink; functions may return less or more, which is clipped
Generator = np.random.Generator

AXIS: Final = np.arange(SIDE, dtype=np.float64)


def corrupt(images: npt.NDArray[np.uint8], name: str, rng: Generator) -> npt.NDArray[np.uint8]:
    """`(N, 28, 28) uint8, 0 = paper, 255 = ink` with the corruption of this name, a key of CORRUPTIONS.

    In colour, `(N, 28, 28, 3)`, each channel with the same random numbers.
    """
    if images.ndim == 4:
        channels = np.moveaxis(images, 3, 0)
        return np.stack([corrupt(channel, name, copy.deepcopy(rng)) for channel in channels], axis=3)
    return np.round(255 * CORRUPTIONS[name](images / 255, rng).clip(0, 1)).astype(np.uint8)


def _uniform(pixels: Pixels, low: float, high: float, rng: Generator) -> Pixels:
    """One number `(N, 1, 1)` for each image."""
    return rng.uniform(low, high, (len(pixels), 1, 1))


def _sign(pixels: Pixels, rng: Generator) -> Pixels:
    return rng.choice([-1.0, 1.0], (len(pixels), 1, 1))


def _blur(pixels: Pixels, sigma: float) -> Pixels:
    weights = np.exp(-(((AXIS[:, None] - AXIS) / sigma) ** 2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ pixels @ weights.T


def _sample(pixels: Pixels, y: Pixels, x: Pixels) -> Pixels:
    """The pixels at these places, between four pixels by bilinear interpolation; paper outside of the image."""
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    y, x = (y + 1).clip(0, SIDE + 0.999), (x + 1).clip(0, SIDE + 0.999)
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, right, n = y - top, x - left, np.arange(len(pixels))[:, None, None]
    upper = padded[n, top, left] * (1 - right) + padded[n, top, left + 1] * right
    lower = padded[n, top + 1, left] * (1 - right) + padded[n, top + 1, left + 1] * right
    sampled: Pixels = upper * (1 - down) + lower * down
    return sampled


def _move(pixels: Pixels, matrix: tuple[Pixels | float, ...], shift: tuple[Pixels | float, Pixels | float]) -> Pixels:
    """Each pixel comes from `matrix` (yy, yx, xy, xx) times its place relative to the centre, plus `shift` (y, x)."""
    zero, centre = np.zeros((len(pixels), 1, 1)), (SIDE - 1) / 2
    y, x = AXIS[:, None] - centre, AXIS[None] - centre
    yy, yx, xy, xx = matrix
    return _sample(pixels, zero + yy * y + yx * x + shift[0] + centre, zero + xy * y + xx * x + shift[1] + centre)


def _enlarge(small: Pixels) -> Pixels:
    """`(N, S, S)` to `(N, 28, 28)` by bilinear interpolation."""
    at = np.linspace(0, small.shape[1] - 1, SIDE)
    weights = (1 - np.abs(at[:, None] - np.arange(small.shape[1]))).clip(0, None)
    enlarged: Pixels = weights @ small @ weights.T
    return enlarged


def shot_noise(pixels: Pixels, rng: Generator) -> Pixels:
    photons = 5
    return rng.poisson(pixels * photons) / photons


def impulse_noise(pixels: Pixels, rng: Generator) -> Pixels:
    return np.where(rng.random(pixels.shape) < 0.17, rng.integers(0, 2, pixels.shape), pixels)


def glass_blur(pixels: Pixels, rng: Generator) -> Pixels:
    y, x = rng.integers(-1, 2, (2, *pixels.shape))
    return _blur(_sample(_blur(pixels, 0.7), AXIS[:, None] + y, AXIS + x), 0.7)


def motion_blur(pixels: Pixels, rng: Generator) -> Pixels:
    angle = _uniform(pixels, -np.pi / 4, np.pi / 4, rng)
    steps = np.arange(-5, 6)
    weights = np.exp(-((steps / 3) ** 2) / 2)
    moved = [_move(pixels, (1, 0, 0, 1), (step * np.sin(angle), step * np.cos(angle))) for step in steps]
    blurred: Pixels = np.tensordot(weights / weights.sum(), np.stack(moved), 1)
    return blurred


def shear(pixels: Pixels, rng: Generator) -> Pixels:
    return _move(pixels, (1, 0, 0.4 * _sign(pixels, rng), 1), (0, 0))


def scale(pixels: Pixels, rng: Generator) -> Pixels:
    return _move(pixels, (1 / 0.7, 0, 0, 1 / 0.7), (0, 0))


def rotate(pixels: Pixels, rng: Generator) -> Pixels:
    angle = 0.4 * _sign(pixels, rng)  # radians
    return _move(pixels, (np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)), (0, 0))


def brightness(pixels: Pixels, rng: Generator) -> Pixels:
    return pixels + 0.5


def translate(pixels: Pixels, rng: Generator) -> Pixels:
    return _move(pixels, (1, 0, 0, 1), (3 * _sign(pixels, rng), 3 * _sign(pixels, rng)))


def stripe(pixels: Pixels, rng: Generator) -> Pixels:
    """Inverted but for the middle half."""
    return np.where(np.abs(AXIS - (SIDE - 1) / 2) < SIDE / 4, pixels, 1 - pixels)


def fog(pixels: Pixels, rng: Generator) -> Pixels:
    fractal = sum(_enlarge(rng.standard_normal((len(pixels), side, side))) / side for side in (2, 4, 7, 14, 28))
    low, high = np.min(fractal, axis=(1, 2), keepdims=True), np.max(fractal, axis=(1, 2), keepdims=True)
    thickness = 2.0
    fogged: Pixels = (pixels + thickness * (fractal - low) / (high - low)) / (1 + thickness)
    return fogged


def spatter(pixels: Pixels, rng: Generator) -> Pixels:
    blots = _blur(rng.standard_normal(pixels.shape), 1.2)
    level = np.quantile(blots, 0.9, axis=(1, 2), keepdims=True)
    return np.maximum(pixels, 0.7 * _blur((blots > level).astype(np.float64), 0.5))


def dotted_line(pixels: Pixels, rng: Generator) -> Pixels:
    left, right = _uniform(pixels, 4, SIDE - 4, rng), _uniform(pixels, 4, SIDE - 4, rng)
    dots = np.arange(1, SIDE, 3.5)
    y = left + (right - left) * dots / SIDE  # (N, 1, dots)
    squared: Pixels = (AXIS[:, None, None] - y[:, :, None]) ** 2 + (AXIS[:, None] - dots) ** 2
    line: Pixels = (1.6 - np.sqrt(squared.min(axis=3))).clip(0, 1)
    return np.maximum(pixels, line)


def zigzag(pixels: Pixels, rng: Generator) -> Pixels:
    left, right = _uniform(pixels, 4, SIDE - 4, rng), _uniform(pixels, 4, SIDE - 4, rng)
    wave = np.abs((AXIS / 4 + _uniform(pixels, 0, 2, rng)) % 2 - 1) * 4 - 2
    line: Pixels = (1.5 - np.abs(AXIS[:, None] - left - (right - left) * AXIS / SIDE - wave)).clip(0, 1)
    return np.maximum(pixels, line)


def canny_edges(pixels: Pixels, rng: Generator) -> Pixels:
    """Canny, "A computational approach to edge detection", 1986: outlines in place of strokes."""
    smooth = np.pad(_blur(pixels, 1.0), ((0, 0), (1, 1), (1, 1)))
    down = (smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1]) / 2
    right = (smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2]) / 2
    slope = np.hypot(down, right)
    y, x = down / np.maximum(slope, 1e-9), right / np.maximum(slope, 1e-9)
    before = _sample(slope, AXIS[:, None] - y, AXIS - x)
    after = _sample(slope, AXIS[:, None] + y, AXIS + x)
    ridge = np.where((slope >= before) & (slope > after), slope, 0)
    edges = ridge > 0.15
    for _ in range(SIDE):  # weak edges continue strong ones
        around = np.pad(edges, ((0, 0), (1, 1), (1, 1)))
        near = np.any([around[:, i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3)], axis=0)
        edges = edges | (near & (ridge > 0.07))
    return edges.astype(np.float64)


CORRUPTIONS: Final = MappingProxyType[str, Callable[[Pixels, Generator], Pixels]](
    {
        function.__name__: function
        for function in (
            *(shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness, translate),
            *(stripe, fog, spatter, dotted_line, zigzag, canny_edges),
        )
    }
)
