"""A drawing of the network as SVG: one slab per layer, as high as the feature map, wider the more channels it has."""

import math
from html import escape
from typing import Final

from pipeline.model.summary import Layer

COLOURS: Final = {  # other layers do not change the shape and are not drawn
    "image": "#d9d9d9",
    "Conv2d": "#3b6ea5",
    "ResidualBlock": "#2f5a88",
    "MaxPool2d": "#9dbbd9",
    "AdaptiveAvgPool2d": "#9dbbd9",
    "Flatten": "#cfcfcf",
    "Linear": "#e2a03f",
}
GAP: Final = 46  # SVG units between slabs
HEIGHT: Final = 260  # of the drawing
CENTRE_Y: Final = 105  # of the slabs


def draw(channels: int, side: int, layers: list[Layer]) -> str:
    """The SVG of a network with an input of `channels` times `side`×`side` pixels."""
    drawn = [(layer.kind, layer.output) for layer in layers if layer.kind.split()[0] in COLOURS]
    slabs = [("image", (channels, side, side)), *drawn]
    x, shapes = 30.0, []
    for kind, output in slabs:
        width, height = _extent(output)
        shapes.append(_slab(kind, output, x, width, height))
        x += width + GAP
    body = "\n".join(shapes)
    size = f'width="{x:.0f}" height="{HEIGHT}" viewBox="0 0 {x:.0f} {HEIGHT}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif"'
    return f'{opening} font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'


def _extent(output: tuple[int, ...]) -> tuple[float, float]:
    """Width and height of a slab: logarithmic in channels, linear in pixels; a vector is one thin column."""
    if len(output) == 3:
        return 6 + 7 * math.log2(output[0]), 5.5 * output[1]
    return 10, min(150, 20 + 12 * math.log2(output[0]))


def _slab(kind: str, output: tuple[int, ...], x: float, width: float, height: float) -> str:
    colour = COLOURS[kind.split()[0]]
    centre = x + width / 2
    lines = [*kind.split(), "×".join(map(str, output))]
    text = "".join(
        f'<text x="{centre:.1f}" y="{205 + 15 * n}" text-anchor="middle" fill="#333">{escape(line)}</text>'
        for n, line in enumerate(lines)
    )
    rectangle = f'<rect x="{x:.1f}" y="{CENTRE_Y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'{rectangle} fill="{colour}" stroke="#444" stroke-width="0.7" rx="2"/>{text}'
