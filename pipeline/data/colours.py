"""Colour: images in three channels made of grey ones, and one grey channel of those.

A coloured image is ink of one colour on paper of another. Both are drawn for each image, with a fixed seed, so that the
same archives give the same images; a pixel of the archive says how far the colour is from that of the paper to that of
the ink. Not covered: shades of several colours in one image, as photographs of clothes have.
"""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import ParamsError
from pipeline.data.dataset import Description, Split
from pipeline.data.limits import COLOURS, SIDE
from pipeline.data.picture import grey_by_contrast

MIN_DISTANCE: Final = 128.0  # of ink and paper in the cube of colours, whose side is 255; people read less with effort
CLASS_SPREAD: Final = 1.0  # classes: standard deviation of an ink's hue around that of its class
CHUNK: Final = 1000  # images whose pixels are computed at a time, as float32

Colouring = Literal["none", "random", "class"]
Images = npt.NDArray[np.uint8]
Colours = npt.NDArray[np.float32]  # (N, 3), 0 to 255: red, green, blue
Generator = np.random.Generator
DataSet = tuple[Description, Split, Split]


def apply(dataset: DataSet, colouring: Colouring, channels: int) -> DataSet:
    """The data set with its grey images in colour, if `colouring` is not none, and then in as many channels.

    Its pictures are seen as they are: what finds ink or an object loses the colours. Raises ParamsError if the images
    are in colour already, or if they are grey and three channels are expected.
    """
    description, train, test = dataset
    if colouring != "none":
        if train.channels == COLOURS:
            raise ParamsError(f"params.yaml: download.colouring: got {colouring}, expected none for images in colour")
        name, classes = f"{description.name}_{colouring}_colours", len(description.classes)
        description = replace(description, name=name, preprocessing="none")
        train, test = paint(train, colouring, classes, seed=1), paint(test, colouring, classes, seed=2)
    if train.channels < channels:
        raise ParamsError(
            f"params.yaml: download.channels: got {channels}, expected 1 for the grey images of {description.name}, or "
            "a download.colouring for them"
        )
    return (description, to_grey(train), to_grey(test)) if train.channels > channels else (description, train, test)


def paint(split: Split, colouring: Colouring, classes: int, seed: int) -> Split:
    """The images `(N, 28, 28)` in colour, `(N, 28, 28, 3)`.

    `random`: ink and paper of any two colours that differ, whatever the class. `class`: the hue of the ink is near one
    of its class on the colour wheel, and overlaps those of the neighbours; saturation, value and paper are random.
    """
    rng = np.random.default_rng(seed)
    inks = class_inks(split.labels, classes, rng) if colouring == "class" else random_colours(len(split), rng)
    papers = distant_colours(inks, rng)
    painted = np.empty((len(split), SIDE, SIDE, COLOURS), np.uint8)
    for start in range(0, len(split), CHUNK):
        part = slice(start, start + CHUNK)
        ink, paper = inks[part, None, None], papers[part, None, None]
        share = split.images[part, ..., None] / np.float32(255)
        painted[part] = np.round(paper + share * (ink - paper))
    return Split(painted, split.labels)


def random_colours(count: int, rng: Generator) -> Colours:
    return rng.uniform(0, 255, (count, COLOURS)).astype(np.float32)


def distant_colours(colours: Colours, rng: Generator) -> Colours:
    """A random colour for each that differs from it by MIN_DISTANCE or more."""
    others = random_colours(len(colours), rng)
    while (near := np.linalg.norm(others - colours, axis=1) < MIN_DISTANCE).any():
        others[near] = random_colours(int(near.sum()), rng)
    return others


def class_inks(labels: Images, classes: int, rng: Generator) -> Colours:
    """Vivid colours, with the hues of the classes evenly around the colour wheel."""
    hues = (labels + rng.normal(0, CLASS_SPREAD, len(labels))) / classes % 1
    saturations, values = rng.uniform(0.6, 1, (2, len(labels)))
    return from_hsv(hues, saturations, values)


def from_hsv(
    hues: npt.NDArray[np.float64], saturations: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> Colours:
    """Each from 0 to 1, `(N,)` (Smith, "Color gamut transform pairs", 1978)."""
    sector = (np.array([5, 3, 1]) + 6 * hues[:, None]) % 6
    chroma = np.minimum(sector, 4 - sector).clip(0, 1)
    colours: Colours = (255 * values[:, None] * (1 - saturations[:, None] * chroma)).astype(np.float32)
    return colours


def to_grey(split: Split) -> Split:
    """One channel of three, as a picture becomes grey in the service: `(N, 28, 28)`."""
    images = [np.asarray(grey_by_contrast(Image.fromarray(image))) for image in split.images]
    return Split(np.stack(images), split.labels)
