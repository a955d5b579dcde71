"""The parts of training: augmentation, optimizers, learning-rate schedulers, the device, the loop, checkpoints."""

import math
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline import train as train_stage
from pipeline.core.errors import DataError, DeviceError, TrainingError
from pipeline.data.dataset import Split
from pipeline.model.classifier import Classifier
from pipeline.model.networks import Architecture
from pipeline.tracking.live_writer import LiveWriter
from pipeline.training import checkpoint, device
from pipeline.training.augmentation import AugmentationParams, augment
from pipeline.training.config import TrainConfig
from pipeline.training.losses import LossName, mean_loss
from pipeline.training.optimizers import OptimizerParams, ScheduleParams, build_lr_scheduler, build_optimizer
from pipeline.training.outliers import make_outliers
from pipeline.training.state import EpochRow, Row, TrainState
from pipeline.training.trainer import MAX_STEP_ROWS, Trainer, to_device

CPU = torch.device("cpu")
OFF = AugmentationParams(shift=0, rotation=0, scale=0, shear=0, elastic=0, stroke=0, erase=0, mirror=False)
USUAL = OFF.model_copy(update={"shift": 2, "rotation": 8, "scale": 0.1, "shear": 0.15, "elastic": 1.0, "stroke": 0.5})


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rates(name: str, warmup: float = 0.25) -> list[float]:
    """The learning rate in each of 5 steps of 4 epochs; the highest is 1."""
    params = {"name": name, "warmup": warmup, "gamma": 0.5, "step_epochs": 2}
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = build_lr_scheduler(ScheduleParams.model_validate(params), sgd, epochs=4, steps_per_epoch=5)
    found = []
    for _ in range(20):
        found.append(float(scheduler.get_last_lr()[0]))
        sgd.step()
        scheduler.step()
    return found


def trainer(
    digits: Split,
    hidden: list[int] | None = None,
    validation: Split | None = None,
    rate: float = 0.1,
    optimizer: str = "sgd",
    dropout: float = 0.0,
    **changes: Any,
) -> Trainer:
    """A small convolutional network on the CPU; with `hidden` one of linear layers, at a constant rate."""
    model = {
        "model": "cnn" if hidden is None else "mlp",
        "cnn": {"widths": [4, 8, 8], "dropout": dropout},
        "mlp": {"hidden": hidden or [], "activation": "none", "dropout": dropout},
        "resnet": {"stem": 4, "early_pooling": True, "widths": [8], "blocks": 1, "dropout": dropout},
    }
    shape = "one_cycle" if hidden is None else "constant"
    config = {
        "optimizer": {"name": optimizer, "learning_rate": rate, "momentum": 0.9, "weight_decay": 0.0},
        "schedule": {"name": shape, "warmup": 0.2, "gamma": 0.7, "step_epochs": 1},
        "augmentation": OFF.model_dump(),
        "drawn_digits": 0.0,
        "outliers": 0.0,
        "refused": 0.0,
        "loss": "cross_entropy",
        "label_smoothing": 0.0,
        "averaging": 0.0,
        "epochs": 4,
        "batch": 20,
        "seed": 1,
        "precision": "float32",
        "checkpoint_steps": 1000,
    }
    torch.manual_seed(1)
    architecture = Architecture.model_validate(
        model | {"classes": 10, "outliers": True, "subtract": 0.13, "divide_by": 0.31}
    )
    splits = to_device(digits, CPU), to_device(validation or digits, CPU)
    params = TrainConfig.model_validate(config | changes)
    return Trainer(Classifier.from_architecture(architecture), *splits, params, is_digits=True)


def train(
    digits: Split, *arguments: Any, report: Callable[[Row], None] = lambda row: None, **changes: Any
) -> TrainState:
    return trainer(digits, *arguments, **changes).run(report, lambda: None)


def test_the_squared_error_is_that_of_the_probabilities_and_the_smoothed_labels() -> None:
    logits, labels = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]]), torch.tensor([1, 0])
    assert mean_loss("squared_error", logits, labels, 0.0).item() == pytest.approx((2 * 0.25**2 + 2 * 0.5**2) / 2)
    assert mean_loss("squared_error", logits, labels, 0.2).item() == pytest.approx((2 * 0.15**2 + 2 * 0.4**2) / 2)


@pytest.mark.parametrize("name", get_args(LossName))
def test_each_loss_teaches_the_network(digits: Split, name: LossName) -> None:
    state = train(digits, [32], rate=0.02, loss=name, epochs=12)
    assert state.epochs[-1].train_loss < 0.7 * state.epochs[0].train_loss
    assert state.epochs[-1].validation_accuracy > 0.8


def test_augmentation_that_is_off_changes_nothing() -> None:
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(augment(images, OFF, generator()), images)


def test_augmentation_depends_on_its_generator_alone_and_differs_between_images() -> None:
    images = torch.ones(2, 1, 28, 28)
    changed = augment(images, USUAL, generator())
    assert torch.equal(changed, augment(images, USUAL, generator()))
    assert not torch.equal(changed, augment(images, USUAL, generator(2)))
    assert not torch.equal(changed[0], changed[1])


@pytest.mark.parametrize("largest", [0.5, 2.0, 6.0])
def test_a_shift_stays_within_its_bound_and_uses_it(largest: float) -> None:
    images = torch.zeros(300, 1, 28, 28)
    images[:, :, 13:15, 13:15] = 1
    changed = augment(images, OFF.model_copy(update={"shift": largest}), generator())[:, 0]
    for axis in (1, 2):
        centres = changed.sum(dim=axis) @ (torch.arange(28.0) - 13.5) / changed.sum(dim=(1, 2))
        assert 0.95 * largest < centres.abs().max() < largest + 1e-3


@pytest.mark.parametrize("mirror", [False, True])
def test_half_of_the_images_are_mirrored_if_mirror_is_on_and_none_otherwise(mirror: bool) -> None:
    letter = torch.zeros(1, 1, 28, 28)
    letter[:, :, 4:24, 8:13] = letter[:, :, 19:24, 8:20] = 1  # an L
    without_elastic = USUAL.model_copy(update={"elastic": 0.0, "mirror": mirror})
    changed = augment(letter.repeat(300, 1, 1, 1), without_elastic, generator())
    itself_and_mirrored = torch.stack([letter, letter.flip(2), letter.flip(3)])
    nearest = (changed - itself_and_mirrored).square().sum(dim=(2, 3, 4)).argmin(dim=0)
    assert not (nearest == 1).any()
    assert 0.4 < (nearest == 2).float().mean() < 0.6 if mirror else not nearest.any()


def test_an_elastic_image_is_distorted_but_stays_in_place() -> None:
    images = torch.zeros(200, 1, 28, 28)
    images[:, :, 8:21:4, 8:21:4] = 1
    changed = augment(images, OFF.model_copy(update={"elastic": 1.0}), generator())[:, 0]
    centres = changed.sum(dim=1) @ torch.arange(28.0) / changed.sum(dim=(1, 2))
    assert (changed - images[:, 0]).abs().mean() > 0.01
    assert centres.mean() == pytest.approx(14, abs=0.1)


def test_a_stroke_becomes_wider_and_thinner_by_up_to_the_amount() -> None:
    images = torch.zeros(300, 1, 28, 28)
    images[:, :, 4:24, 12:16] = 1  # four pixels wide
    width = augment(images, OFF.model_copy(update={"stroke": 0.5}), generator())[:, 0, 14].sum(dim=1)
    assert 3.0 <= width.min() < 3.1
    assert 4.9 < width.max() <= 5.0


def test_a_square_of_the_given_side_is_erased_and_nothing_else() -> None:
    kept = augment(torch.ones(500, 1, 28, 28), OFF.model_copy(update={"erase": 6}), generator())
    erased = 28 * 28 - kept.sum(dim=(1, 2, 3))
    assert erased.max() == 36
    assert erased.min() >= 9  # at least its quarter lies in the image
    assert (kept == 0).float().mean(dim=0).min() > 0.005


@pytest.mark.parametrize("name", get_args(OptimizerParams.model_fields["name"].annotation))
def test_each_optimizer_lowers_the_loss(name: str, digits: Split) -> None:
    pixels, labels = torch.from_numpy(digits.images).flatten(1) / 255, torch.from_numpy(digits.labels).long()
    network = nn.Linear(784, 10)
    nn.init.zeros_(network.weight)
    values = {"name": name, "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    sgd = build_optimizer(OptimizerParams.model_validate(values), network)
    losses = []
    for _ in range(20):
        losses.append(F.cross_entropy(network(pixels), labels))
        sgd.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call]
        sgd.step()
    assert losses[-1] < losses[0] - 1e-3


def test_step_and_exponential_schedules_multiply_the_rate_by_gamma() -> None:
    assert rates("constant") == [1] * 20
    assert rates("step") == [1] * 10 + [0.5] * 10
    assert rates("exponential") == [1] * 5 + [0.5] * 5 + [0.25] * 5 + [0.125] * 5


def test_a_cosine_falls_from_the_highest_rate_to_almost_0() -> None:
    assert rates("cosine") == pytest.approx([(1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)])


@pytest.mark.parametrize(("warmup", "top"), [(0.25, 5), (0.5, 10), (0.0, 0)])
def test_one_cycle_rises_during_the_warmup_then_falls_to_almost_0(warmup: float, top: int) -> None:
    found = rates("one_cycle", warmup)
    assert found[top] == max(found) == 1
    assert all(before < after for before, after in pairwise(found[: top + 1]))
    assert all(before > after for before, after in pairwise(found[top:]))
    assert 0 < found[-1] < 0.11


def test_a_missing_gpu_is_an_error_only_if_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"train\.device: got 'cuda', but torch finds no GPU"):
        device.select_device("cuda")
    assert device.select_device("auto") == device.select_device("cpu") == CPU


def test_each_process_of_torchrun_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device.select_device("auto") == device.select_device("cuda") == torch.device("cuda", 3)
    assert device.select_device("cpu") == CPU
    monkeypatch.delenv("LOCAL_RANK")
    assert device.select_device("auto") == torch.device("cuda", 0)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_matrix_products_have_the_requested_precision(precision: device.Precision, dtype: torch.dtype) -> None:
    with device.autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_small_network_learns_the_digits_in_a_few_epochs(digits: Split) -> None:
    found = train(digits)
    assert found.epochs[-1].train_loss < found.epochs[0].train_loss / 2
    assert found.epochs[-1].train_accuracy > 0.8


def test_a_network_learns_what_is_not_a_digit(digits: Split) -> None:
    trained = trainer(digits, epochs=20, outliers=0.5)
    trained.run(lambda row: None, lambda: None)
    pixels, labels = trained.train_split.images.unsqueeze(1).float() / 255, trained.train_split.labels
    outliers = make_outliers(pixels, labels, 200, True, generator(99)).mul(255).round().to(torch.uint8)[:, 0]
    network = trained.classifier.eval()
    with torch.inference_mode():
        (_, of_digits), (_, of_outliers) = network(trained.train_split.images), network(outliers)
    assert of_digits.median() > 0.8
    assert of_outliers.median() < 0.3


def test_digits_that_are_drawn_are_added_only_if_the_classes_are_digits(digits: Split) -> None:
    both = trainer(digits, drawn_digits=0.5, outliers=0.25)
    pixels, labels = both.train_split.images[:20, None].float() / 255, both.train_split.labels[:20]
    made, made_labels = both.with_made_images(pixels, labels)
    assert torch.equal(made[:20], pixels)
    assert made_labels[20:30].max() <= 9
    assert made_labels[30:].tolist() == [10] * 5
    others = Trainer(both.classifier, both.train_split, both.validation_split, both.config, is_digits=False)
    assert others.with_made_images(pixels, labels)[1][20:].tolist() == [10] * 5


def test_the_same_seed_gives_the_same_weights(digits: Split) -> None:
    one, other = train(digits, epochs=1), train(digits, epochs=1)
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert (one.epochs, one.steps) == (other.epochs, other.steps)


def test_the_epoch_that_is_kept_is_the_best_on_the_validation_images(digits: Split) -> None:
    misleading = Split(digits.images, (digits.labels + 1) % 10)  # a network that learns the digits fails on these
    short, found = (train(digits, [], misleading, epochs=epochs, rate=0.001) for epochs in (1, 3))
    assert found.best == found.epochs[0] == short.best
    assert found.epochs[-1].validation_loss > found.epochs[0].validation_loss
    assert all(torch.equal(found.weights[name], short.weights[name]) for name in short.weights)


def test_every_row_of_the_history_is_reported_in_order(digits: Split) -> None:
    rows: list[Row] = []
    found = train(digits, epochs=2, report=rows.append)
    assert rows == [*found.steps[:10], found.epochs[0], *found.steps[10:], found.epochs[1]]
    assert [row.step for row in found.steps] == list(range(1, 21))
    assert found.epochs[0].train_loss == pytest.approx(sum(row.loss for row in found.steps[:10]) / 10, rel=1e-5)


def test_the_rows_of_many_steps_are_thinned_out(digits: Split) -> None:
    steps = train(digits, hidden=[], epochs=5, batch=2).steps
    assert [row.step for row in steps] == list(range(2, 501, 2))
    assert len(steps) <= MAX_STEP_ROWS


def test_a_loss_that_diverges_is_an_error(digits: Split) -> None:
    with pytest.raises(TrainingError, match=r"learning_rate: the loss is (nan|inf) by step \d+; lower it"):
        train(digits, hidden=[64, 64], rate=10.0)


def test_a_batch_takes_no_more_images_than_there_are(digits: Split) -> None:
    assert len(train(digits, hidden=[], epochs=1, batch=200).steps) == 1
    with pytest.raises(TrainingError, match=r"train\.batch: got 201, expected at most 200"):
        train(digits, hidden=[], batch=201)


def test_the_kept_weights_may_be_an_average_over_the_last_steps(digits: Split) -> None:
    plain, averaged = trainer(digits, epochs=1), trainer(digits, epochs=1, averaging=0.9)
    plain.run(lambda row: None, lambda: None)
    kept = averaged.run(lambda row: None, lambda: None).weights
    trained = averaged.classifier.state_dict()
    assert all(torch.equal(trained[name], tensor) for name, tensor in plain.classifier.state_dict().items())
    assert any(not torch.equal(trained[name], kept[name]) for name in kept)
    assert kept.keys() == trained.keys()


class Killed(Exception):
    pass


def kill_at(trainer: Trainer, step: int) -> None:
    if trainer.step >= step:
        raise Killed


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("optimizer", get_args(OptimizerParams.model_fields["name"].annotation))
def test_a_training_killed_at_any_step_resumes_to_the_same_bytes(optimizer: str, digits: Split, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "rate": 0.01, "averaging": 0.9, "dropout": 0.2}
    settings |= {"epochs": 2, "checkpoint_steps": 3, "augmentation": USUAL.model_dump()}
    settings |= {"drawn_digits": 0.2, "outliers": 0.2}
    uninterrupted = train(digits, **settings)
    path, kills = tmp_path / "checkpoint", random.Random(optimizer)
    for attempt in range(30):
        resumed = trainer(digits, **settings)
        if path.is_file():
            checkpoint.load(path.read_bytes(), path, resumed)
            assert resumed.step % 3 == 0
        steps_left = kills.randrange(1, 8) if attempt < 29 else 1000

        def save(resumed: Trainer = resumed) -> None:
            checkpoint.save(path, resumed)

        def kill(row: Row, resumed: Trainer = resumed, last: int = resumed.step + steps_left) -> None:
            if resumed.step >= last:
                raise Killed

        try:
            found = resumed.run(kill, save)
        except Killed:
            continue
        break
    assert attempt > 2
    assert same(vars(found) | {"seconds": 0}, vars(uninterrupted) | {"seconds": 0})


@pytest.mark.parametrize("steps", [0, 3, 12])
@pytest.mark.parametrize("optimizer", get_args(OptimizerParams.model_fields["name"].annotation))
def test_a_loaded_state_dict_is_the_one_that_was_saved(
    optimizer: str, steps: int, digits: Split, tmp_path: Path
) -> None:
    """After 0 steps, within the first epoch, within the second."""
    first, second, third = (trainer(digits, optimizer=optimizer, averaging=0.9) for _ in range(3))
    if steps:
        with pytest.raises(Killed):
            first.run(lambda row: kill_at(first, steps), lambda: None)

    second.load_state_dict(first.state_dict())
    checkpoint.save(tmp_path / "checkpoint", first)
    checkpoint.load((tmp_path / "checkpoint").read_bytes(), tmp_path / "checkpoint", third)

    assert first.step == steps
    assert same(first.state_dict(), second.state_dict())
    assert same(first.state_dict(), third.state_dict())


def test_a_damaged_checkpoint_and_that_of_another_network_are_named(digits: Split, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    checkpoint.save(path, trainer(digits))
    content = path.read_bytes()
    for damaged, network in ((content[:-1], trainer(digits)), (content, trainer(digits, hidden=[3]))):
        with pytest.raises(DataError, match=r"expected a checkpoint of this training run, got: .*; delete it"):
            checkpoint.load(damaged, path, network)


def test_the_history_is_written_after_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    epochs: list[EpochRow] = []
    lengths = []
    with LiveWriter(tmp_path / "live.jsonl") as live:
        for number in (1, 2):
            train_stage.report(EpochRow(number, 0.5, 0.75, 0.25, 1.0), epochs, live)
            lengths.append(len((train_stage.OUT / "history.csv").read_text().splitlines()))

    assert lengths == [2, 3]  # with the names of the columns
