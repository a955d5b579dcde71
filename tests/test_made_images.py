"""Images that are made during training: digits and other characters drawn by strokes, and outliers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.dataset import Split
from pipeline.training import outliers
from pipeline.training.drawn_characters import (
    LOOKALIKE,
    POINTS,
    draw_digits,
    draw_others,
    other_templates,
    parse_templates,
)
from pipeline.training.outlier_templates import LOOKALIKES, OTHERS
from pipeline.training.outliers import make_outliers
from pipeline.training.stroke_templates import DIGITS

CPU = torch.device("cpu")


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def box(image: Tensor) -> tuple[int, int]:
    """Height and width of the ink."""
    rows, columns = torch.nonzero(image > 0.25, as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def test_drawn_digits_depend_on_their_generator_alone_and_differ_from_each_other() -> None:
    images, labels = draw_digits(40, generator())
    again, others = draw_digits(40, generator()), draw_digits(40, generator(2))
    assert torch.equal(images, again[0])
    assert torch.equal(labels, again[1])
    assert not torch.equal(labels, others[1])
    assert (images.shape, images.dtype, labels.dtype) == ((40, 1, 28, 28), torch.float32, torch.int64)
    assert torch.pdist(images.flatten(1)).min() > 0.1


def test_each_digit_is_drawn_equally_often() -> None:
    labels = torch.cat([draw_digits(500, generator(seed))[1] for seed in range(4)])
    assert labels.bincount(minlength=10).min() > 150
    assert labels.max() == 9


@pytest.mark.parametrize(
    "draw", [lambda count: draw_digits(count, generator())[0], lambda n: draw_others(n, generator())]
)
def test_drawn_characters_have_the_size_and_the_place_of_mnists(draw: object) -> None:
    assert callable(draw)
    images: Tensor = draw(300)[:, 0]
    assert images.min() == 0
    assert images.max() == 1
    longer = torch.tensor([float(max(box(image))) for image in images])
    assert 18 <= longer.median() <= 21
    assert longer.max() <= 25
    weights = images / images.sum(dim=(1, 2), keepdim=True)
    for axis in (1, 2):
        centres = weights.sum(dim=axis) @ (torch.arange(28.0) + 0.5)
        assert (centres - 14).abs().median() < 0.7


def test_drawn_digits_look_like_their_labels(digits: Split) -> None:
    """The nearest of 200 digits from another generator has the same label, for most: one in ten would by chance."""

    def features(images: Tensor) -> Tensor:
        return F.normalize(F.avg_pool2d(images, 4).flatten(1), dim=1)

    images, labels = draw_digits(1000, generator())
    known = features(torch.from_numpy(digits.images)[:, None].float() / 255)
    nearest = torch.from_numpy(digits.labels).long()[(features(images) @ known.T).argmax(dim=1)]
    for digit in range(10):
        assert (nearest == labels)[labels == digit].float().mean() > 0.4, digit


def test_pens_are_thin_and_thick() -> None:
    ink = draw_digits(400, generator())[0].sum(dim=(1, 2, 3))
    assert ink.quantile(0.05) < 50
    assert ink.quantile(0.95) > 150


def test_letters_that_are_written_like_digits_are_drawn_rarely_and_all_others_equally_often() -> None:
    templates, shares = other_templates(CPU)
    assert len(templates.points) == len(shares) == len(OTHERS) + len(LOOKALIKES)
    others, lookalikes = shares[: len(OTHERS)], shares[len(OTHERS) :]
    assert float(lookalikes.sum()) == pytest.approx(LOOKALIKE)
    assert float(others.sum()) == pytest.approx(1 - LOOKALIKE)
    for same in (others, lookalikes):
        assert same.min() == same.max()
    assert lookalikes.max() < 0.5 * others.min()


def test_a_line_passes_through_its_points_and_is_not_drawn_where_the_pen_is_lifted() -> None:
    templates = parse_templates(["0,0 0,100* 50,100 | 100,0 100,100"], CPU)
    (line,) = templates.weights @ templates.points
    assert torch.allclose(templates.weights.sum(dim=2), torch.ones(1, POINTS), atol=1e-5)
    for corner in ([0.0, 0.0], [0.0, 1.0], [0.5, 1.0], [1.0, 0.0], [1.0, 1.0]):
        assert (line - torch.tensor(corner)).norm(dim=1).min() < 0.05
    x, y = line.T
    assert (((x < 0.51) & ((x < 0.01) | (y > 0.95))) | (x > 0.99)).all()
    lengths = (line[1:] - line[:-1]).norm(dim=1)
    assert (lengths > 1.5 * lengths.median()).sum() == 1  # evenly spaced, but for the lift


@pytest.mark.parametrize("text", [text for texts in (*DIGITS, OTHERS, LOOKALIKES) for text in texts])
def test_a_template_is_a_character_about_as_large_as_its_box(text: str) -> None:
    templates = parse_templates([text], CPU)
    low, high = (templates.weights @ templates.points)[0].aminmax(dim=0)
    assert low.min() > -0.2
    assert high.max() < 1.35
    assert 0.8 < float((high - low).max()) < 1.5


def images_of(digits: Split) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(digits.images)[:, None].float() / 255, torch.from_numpy(digits.labels).long()


@pytest.mark.parametrize("are_digits", [False, True])
def test_outliers_depend_on_their_generator_alone_and_are_no_image_of_the_batch(
    digits: Split, are_digits: bool
) -> None:
    images, labels = images_of(digits)
    made = make_outliers(images, labels, 60, are_digits, generator())
    assert torch.equal(made, make_outliers(images, labels, 60, are_digits, generator()))
    assert not torch.equal(made, make_outliers(images, labels, 60, are_digits, generator(2)))
    assert made.shape == (60, 1, 28, 28)
    assert made.min() >= 0
    assert made.max() <= 1
    distances = torch.cdist(made.flatten(1), images.flatten(1)).amin(dim=1)
    assert (distances > 1).float().mean() > 0.95


def test_other_characters_are_outliers_only_where_the_classes_are_digits(
    digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = torch.zeros(1, 1, 28, 28)
    monkeypatch.setattr(outliers, "draw_others", lambda count, _: blank.expand(count, -1, -1, -1))
    for are_digits, drawn in ((False, 0), (True, 11)):
        made = make_outliers(*images_of(digits), 20, are_digits, generator())
        assert (made.sum(dim=(1, 2, 3)) == 0).sum() == drawn


def test_parts_that_are_put_together_wrongly_keep_their_ink(digits: Split) -> None:
    images, _ = images_of(digits)
    shuffled = outliers.tiles(images, generator())
    assert torch.allclose(shuffled.sum(dim=(1, 2, 3)), images.sum(dim=(1, 2, 3)), rtol=1e-5)
    overlaid = outliers.overlaid(images, images.flip(0), generator())
    assert (overlaid >= images.flip(0).roll((2, 3), (2, 3))).all()
    assert torch.equal(outliers.inverted(images, generator())[..., 3:-3, 3:-3], 1 - images[..., 3:-3, 3:-3])


def test_halves_of_a_digit_are_not_completed_by_those_of_the_same_digit() -> None:
    zeros = torch.from_numpy(np.zeros((8, 1, 28, 28), np.float32))
    zeros[:, :, 4:24, 8:20] = 1
    zeros[:, :, 8:20, 12:16] = 0  # symmetrical: two halves make it whole again
    made = make_outliers(zeros, torch.zeros(8, dtype=torch.int64), 200, False, generator())
    assert (torch.cdist(made.flatten(1), zeros.flatten(1)[:1]) < 0.5).sum() < 0.1 * len(made)


def test_objects_are_filled_with_holes_and_half_of_them_are_symmetrical() -> None:
    made = outliers.objects(torch.zeros(400, 1, 28, 28), generator())
    assert made.shape == (400, 1, 28, 28)
    assert made.min() >= 0
    assert made.max() <= 1
    symmetrical = torch.isclose(made, made.flip(3), atol=1e-4).flatten(1).all(dim=1).float().mean()
    assert 0.4 < symmetrical < 0.6
    assert (made[:, 0, 10:18, 10:18] > 0.1).float().mean() > 0.5
    has_ink_beside = (made[..., 14, :14].amax(dim=2) > 0.4) & (made[..., 14, 14:].amax(dim=2) > 0.4)
    assert ((made[..., 14, 14] < 0.1) & has_ink_beside).float().mean() > 0.03
