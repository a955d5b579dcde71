"""Images in colour: how they are made of grey ones, and the way of three channels from the archive to the ONNX file."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from pipeline.core import config
from pipeline.core.errors import DataError, ParamsError, TrackingError
from pipeline.data.colours import (
    MIN_DISTANCE,
    apply,
    class_inks,
    distant_colours,
    from_hsv,
    paint,
    random_colours,
    to_grey,
)
from pipeline.data.corruptions import corrupt
from pipeline.data.dataset import DIGITS, Description, Split, load_split
from pipeline.data.image import preprocess
from pipeline.export import OUTPUTS, check_agreement, golden_pictures, to_onnx, trace
from pipeline.model import classifier
from pipeline.model.classifier import to_images, to_pixels
from pipeline.model.summary import list_layers
from pipeline.promotion import settings
from pipeline.promotion.evaluation import OnnxModel
from pipeline.promotion.promote import judge
from pipeline.tracking.registry import ModelVersion
from pipeline.training import fit
from pipeline.training.augmentation import AugmentationParams, augment
from pipeline.training.fitted import FittedModel
from pipeline.training.outliers import make_outliers
from serving.corrections.store import CorrectionStore
from serving.model import Model
from tests.support.inprocess_service import service
from tests.support.pictures import encoded, row
from tests.support.sample_requests import JSON, PNG, RAW

MNIST = Description("mnist", DIGITS, {})
STILL = AugmentationParams(shift=0, rotation=0, scale=0, shear=0, elastic=0, stroke=0, erase=0, mirror=False)


@pytest.fixture(scope="module")
def coloured(digits: Split) -> Split:
    return paint(digits, "class", 10, seed=1)


@pytest.fixture(scope="module")
def fitted(coloured: Split) -> FittedModel:
    return fit(
        coloured.images,
        coloured.labels,
        cnn={"widths": [4, 8, 8], "dropout": 0.0},
        epochs=3,
        batch=20,
        outliers=0.1,
    )


def test_the_same_seed_gives_the_same_colours_and_another_one_others(digits: Split) -> None:
    one, again, other = (paint(digits, "random", 10, seed=seed).images for seed in (1, 1, 2))

    assert one.shape == (200, 28, 28, 3)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_pixel_lies_between_paper_and_ink_as_it_does_in_the_archive(digits: Split) -> None:
    pages = np.zeros((1, 28, 28), np.uint8)
    pages[0, 5, 5:8] = (255, 128, 0)

    painted = paint(Split(pages, np.zeros(1, np.uint8)), "random", 10, seed=1).images[0].astype(float)

    ink, half, paper = painted[5, 5:8]
    assert np.linalg.norm(ink - paper) >= MIN_DISTANCE - 1
    assert half == pytest.approx((ink * 128 + paper * 127) / 255, abs=1)
    assert np.array_equal(painted[0, 0], paper)


def test_ink_and_paper_always_differ() -> None:
    rng = np.random.default_rng(1)
    inks = random_colours(5000, rng)

    distances = np.linalg.norm(distant_colours(inks, rng) - inks, axis=1)

    assert distances.min() >= MIN_DISTANCE


def test_the_colour_wheel_starts_at_red_and_ends_there() -> None:
    hues = np.array([0, 1 / 6, 1 / 3, 2 / 3, 1])

    colours = from_hsv(hues, np.ones(5), np.ones(5))

    expected = [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 0, 255], [255, 0, 0]]
    assert colours == pytest.approx(np.array(expected), abs=1e-3)
    assert from_hsv(np.array([0.3]), np.zeros(1), np.array([0.5])) == pytest.approx(127.5)  # grey


def test_an_ink_says_something_about_its_class_and_not_all() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 500)
    inks = class_inks(labels, 10, np.random.default_rng(1))
    means = np.stack([inks[labels == label].mean(axis=0) for label in range(10)])

    nearest = np.linalg.norm(inks[:, None] - means, axis=2).argmin(axis=1)

    assert 0.2 < (nearest == labels).mean() < 0.6


def test_grey_is_what_the_service_makes_of_the_picture(coloured: Split) -> None:
    grey = to_grey(coloured)

    assert grey.images.shape == (200, 28, 28)
    assert np.array_equal(grey.images[7], preprocess(encoded(coloured.images[7]), "none").image)


def test_a_picture_keeps_its_colours_for_three_channels(coloured: Split) -> None:
    assert np.array_equal(preprocess(encoded(coloured.images[7]), "none", 3).image, coloured.images[7])
    wide = np.full((30, 60, 3), (200, 30, 90), np.uint8)
    image = preprocess(encoded(wide), "none", 3).image
    assert image[14].tolist() == [[200, 30, 90]] * 28
    assert not image[:7].any()


def test_the_parameters_decide_about_colours_and_channels(digits: Split) -> None:
    grey = apply((MNIST, digits, digits), "none", 1)
    coloured = apply((MNIST, digits, digits), "random", 3)
    one_channel = apply((MNIST, digits, digits), "random", 1)

    assert grey == (MNIST, digits, digits)
    assert (coloured[0].name, coloured[0].preprocessing, coloured[1].channels) == ("mnist_random_colours", "none", 3)
    assert not np.array_equal(coloured[1].images, coloured[2].images)  # training and test images have other colours
    assert np.array_equal(one_channel[2].images, to_grey(coloured[2]).images)


def test_what_the_images_do_not_have_is_refused(digits: Split, coloured: Split) -> None:
    with pytest.raises(ParamsError, match=r"download\.channels: got 3, expected 1 for the grey images of mnist, or a"):
        apply((MNIST, digits, digits), "none", 3)
    with pytest.raises(ParamsError, match=r"download\.colouring: got random, expected none for images in colour"):
        apply((MNIST, coloured, coloured), "random", 3)


def test_images_in_colour_are_saved_and_loaded(tmp_path: Path, coloured: Split) -> None:
    coloured.save(tmp_path, "train")

    assert load_split(tmp_path, "train", 10).channels == 3
    np.save(tmp_path / "train_images.npy", coloured.images[..., :2])
    with pytest.raises(
        DataError, match=r"expected an array of uint8 \(N, 28, 28\) or \(N, 28, 28, 3\), got uint8 \(200"
    ):
        load_split(tmp_path, "train", 10)


def test_pixels_and_images_are_each_others_inverse(digits: Split, coloured: Split) -> None:
    for split in (digits, coloured):
        images = torch.from_numpy(split.images)
        assert to_pixels(images).shape == (200, split.channels, 28, 28)
        assert torch.equal(to_images(to_pixels(images)), images)


def test_a_moved_image_shows_more_of_its_paper(coloured: Split) -> None:
    pixels = to_pixels(torch.from_numpy(coloured.images))
    params = STILL.model_copy(update={"shift": 4.0})

    moved = augment(pixels, params, torch.Generator().manual_seed(1))

    assert torch.allclose(moved[:, :, 0, 0], pixels[:, :, 0, 0], atol=1e-5)


def test_outliers_have_colours_too(coloured: Split) -> None:
    pixels, labels = to_pixels(torch.from_numpy(coloured.images)), torch.from_numpy(coloured.labels)

    made = make_outliers(pixels, labels, 100, False, torch.Generator().manual_seed(1))

    assert made.shape == (100, 3, 28, 28)
    assert (made.amax(dim=1) - made.amin(dim=1)).amax(dim=(1, 2)).min() > 0


def test_a_corruption_is_the_same_in_each_channel(digits: Split) -> None:
    alike = np.repeat(digits.images[:5, ..., None], 3, axis=3)

    corrupted = corrupt(alike, "rotate", np.random.default_rng(1))

    assert corrupted.shape == (5, 28, 28, 3)
    expected = corrupt(digits.images[:5], "rotate", np.random.default_rng(1))
    assert all(np.array_equal(corrupted[..., channel], expected) for channel in range(3))


def test_a_network_takes_its_channels_from_the_images(fitted: FittedModel, digits: Split) -> None:
    layers = list_layers(fitted.classifier)

    assert fitted.architecture.channels == 3
    assert layers[0][2:] == (3 * 4 * 25, 3 * 4 * 25 * 24**2)
    assert fit(digits.images, digits.labels, epochs=1, batch=20).architecture.channels == 1


def test_a_saved_network_of_one_channel_is_written_as_before_there_were_three(
    tmp_path: Path, fitted: FittedModel, digits: Split
) -> None:
    fitted.save(tmp_path / "three")
    fit(digits.images, digits.labels, epochs=1, batch=20).save(tmp_path / "one")

    assert classifier.load(tmp_path / "three").channels == 3
    assert classifier.load(tmp_path / "one").channels == 1
    assert "channels" not in (tmp_path / "one" / "architecture.json").read_text(encoding="utf-8")


def test_the_exported_model_answers_images_in_colour_as_the_trained_one(fitted: FittedModel, coloured: Split) -> None:
    golden = golden_pictures(fitted.classifier, coloured, 10, "none")
    content = to_onnx(trace(fitted.classifier), 20, golden)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    assert session.get_inputs()[0].shape == ["N", 28, 28, 3]
    exported = session.run(OUTPUTS, {"images": coloured.images})
    trained = [fitted.probabilities(coloured.images), fitted.scores(coloured.images)]
    assert check_agreement(trained, exported) < 1e-4


@pytest.fixture(scope="module")
def model(fitted: FittedModel, coloured: Split, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The exported network as the service loads it."""
    metadata = {"classes": json.dumps(DIGITS), "dataset": "mnist_class_colours", "preprocessing": "none"}
    metadata |= golden_pictures(fitted.classifier, coloured, 10, "none")
    path = tmp_path_factory.mktemp("colours") / "model.onnx"
    path.write_bytes(to_onnx(trace(fitted.classifier), 20, metadata))
    return Model(path, "mnist:v1-0123abcd")


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(service(model), raise_server_exceptions=False) as client:
        yield client


def test_the_service_takes_the_number_of_channels_from_the_file(client: TestClient, model: Model) -> None:
    assert model.channels == 3
    assert model.reproduces_golden()
    assert client.get("/model").json()["channels"] == 3


def test_a_predicted_picture_keeps_its_colours(
    client: TestClient, fitted: FittedModel, coloured: Split, digits: Split
) -> None:
    answer = client.post("/predict?seen=true", content=encoded(coloured.images[3]), headers=PNG).json()
    grey = client.post("/predict?seen=true", content=encoded(digits.images[3]), headers=PNG).json()

    expected = fitted.probabilities(coloured.images[3:4])[0]
    assert answer["probabilities"] == pytest.approx(expected.tolist(), abs=1e-4)
    assert np.array_equal(seen_image(answer), coloured.images[3])
    assert np.array_equal(seen_image(grey), np.repeat(digits.images[3][..., None], 3, axis=2))


def seen_image(answer: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """The pixels of the PNG in the answer."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["seen"].partition(",")[2]))))


def test_a_batch_of_colours_is_the_same_as_bytes_and_as_json(
    client: TestClient, fitted: FittedModel, coloured: Split
) -> None:
    images = coloured.images[:3]

    raw = client.post("/predict_batch?shape=3,28,28,3", content=images.tobytes(), headers=RAW).json()
    listed = client.post("/predict_batch", content=json.dumps({"images": images.tolist()}), headers=JSON).json()

    assert raw == listed
    assert np.array(raw["probabilities"]) == pytest.approx(fitted.probabilities(images), abs=1e-4)


@pytest.mark.parametrize(
    ("query", "content", "headers", "code", "message"),
    [
        ("?shape=1,28,28", bytes(784), RAW, "bad_query", "got shape=1,28,28, expected shape=N,28,28,3 with N"),
        ("?shape=1,28,28,3", bytes(784), RAW, "wrong_shape", "got 784 bytes, expected 2352 bytes of uint8"),
        ("", {"images": np.zeros((1, 28, 28), int).tolist()}, JSON, "wrong_value", "images[0][0][0]: Input should"),
        ("", {"images": np.zeros((1, 28, 28, 4), int).tolist()}, JSON, "wrong_shape", "images[0][0][0]: List should"),
        ("", {"images": np.full((1, 28, 28, 3), 256).tolist()}, JSON, "wrong_value", "images[0][0][0][0]: Input"),
    ],
)  # fmt: skip
def test_a_batch_of_another_shape_is_refused(
    client: TestClient, query: str, content: Any, headers: dict[str, str], code: str, message: str
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content)

    answer = client.post(f"/predict_batch{query}", content=body, headers=headers)

    assert (answer.status_code // 100, answer.json()["code"]) == (4, code)
    assert answer.json()["message"].startswith(message)
    if headers == JSON:
        assert answer.json()["expected"].endswith("lists of 28 lists of 28 lists of 3 whole numbers from 0 to 255")


def test_a_row_is_of_ink_and_so_of_one_channel(client: TestClient) -> None:
    answer = client.post("/read", content=encoded(255 - row("42")), headers=PNG)

    assert (answer.status_code, answer.json()["code"]) == (409, "not_digits")
    assert "in colour, not the ink that a row is cut into" in answer.json()["message"]


def test_corrections_are_of_ink_and_so_off(model: Model, coloured: Split, tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path)
    with TestClient(service(model, corrections=store), raise_server_exceptions=False) as client:
        answer = client.post("/corrections?label=7", content=encoded(coloured.images[3]), headers=PNG)

        assert (answer.status_code, answer.json()["code"]) == (409, "not_digits")
        assert answer.json()["message"].endswith("classifies pictures as they are, not the ink of digits")
        assert client.get("/page/settings.js").text == 'export default {"corrections":false};\n'
        assert "/corrections" not in client.get("/docs.json").json()["paths"]
    assert not list(tmp_path.iterdir())


def test_the_description_is_of_images_in_colour(client: TestClient, coloured: Split) -> None:
    described = client.get("/docs.json").json()
    batch = described["paths"]["/predict_batch"]["post"]
    schema = {"$ref": "#/components/schemas/Batch", "components": described["components"]}

    jsonschema.validate({"images": coloured.images[:1].tolist()}, schema)
    jsonschema.validate(batch["requestBody"]["content"]["application/json"]["example"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"images": np.zeros((1, 28, 28), int).tolist()}, schema)
    assert re.fullmatch(batch["parameters"][0]["schema"]["pattern"], "12,28,28,3")


def test_a_candidate_of_other_channels_cannot_be_compared_with_the_champion(
    model: Model, fitted: FittedModel, digits: Split
) -> None:
    grey = fit(digits.images, digits.labels, epochs=1, batch=20).classifier
    contents = [model.path.read_bytes(), to_onnx(trace(grey), 20, {"classes": json.dumps(DIGITS)})]
    origin = {"commit": "unknown", "sha256": "0" * 64}

    with pytest.raises(
        TrackingError, match=r"mnist/2: got a model for images of \(28, 28, 3\), expected \(28, 28\) as"
    ):
        judge(ModelVersion("mnist", "2", 0), None, contents, origin, config.load("promote", settings.Params), None)
    assert OnnxModel(contents[0], "mnist version 2").golden_difference() < 1e-4
