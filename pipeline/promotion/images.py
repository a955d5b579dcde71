"""The images on which a candidate and the champion are compared: validation images and own handwriting.

The test set is not among them: it is never used to choose anything.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.files import read_array
from pipeline.core.stage_inputs import content_md5
from pipeline.data import handwriting
from pipeline.data.dataset import DIGITS, SHAPES, Split, load_split
from pipeline.tracking.dvc_repository import DvcRepository

NORMALISED: Final = Path("artifacts/normalise")
OWN: Final = Path("data")


class Images(NamedTuple):
    """Images with their labels, and a remark about them, which may be empty."""

    validation: Split
    handwriting: Split
    remark: str

    def __str__(self) -> str:
        remark = f" ({self.remark})" if self.remark else ""
        return f"{len(self.validation):,} validation images{remark}, {len(self.handwriting)} own pictures"


@contextlib.contextmanager
def normalised(md5: str) -> Iterator[Path]:
    """The folder artifacts/normalise with this DVC hash: that of the working tree or, of another version of the
    pipeline, one with links to what DVC's cache or remote has of it. Raises DataError if they do not have all."""
    if md5 and content_md5(NORMALISED) == md5:
        yield NORMALISED
        return
    if md5:
        with tempfile.TemporaryDirectory() as place, DvcRepository(Path()) as repository:
            folder = Path(place)
            for name, each in (repository.listing(NORMALISED.as_posix(), md5) or {}).items():
                if file := repository.file(name, each):
                    (folder / file.name).symlink_to(file.resolve())
            if content_md5(folder) == md5:
                yield folder
                return
    raise DataError(
        f"{NORMALISED}: expected the validation images with which the model was trained, of MD5 {md5 or '?'}, "
        "got others, and none that are intact in DVC's cache; check out the commit of the model and run "
        "`dvc repro`, which computes them again"
    )


def read_images(
    training_data: str, classes: tuple[str, ...], champions_data: str | None, is_ink: bool = True
) -> Images:
    """The validation images of the candidate whose training data has this hash, and the pictures in data/, if it reads
    the ink of digits.

    Without those on which the champion was trained, if its data are others and there are any left: it would answer them
    better than images that are new to it. None: there is no champion. Raises DataError.
    """
    with normalised(training_data) as folder:
        validation = load_split(folder, "validation", len(classes))
    has_own = classes == DIGITS and is_ink and OWN.is_dir()
    own = handwriting.read(OWN).split if has_own else validation.take(np.arange(0))
    if champions_data in (None, training_data):
        return Images(validation, own, "")
    try:
        with normalised(str(champions_data)) as folder:
            trained = read_array(folder / "train_images.npy", np.uint8, *SHAPES)
    except DataError:
        return Images(validation, own, "the champion's training images are not here and may be among them")
    seen = {image.tobytes() for image in trained}
    new = np.array([image.tobytes() not in seen for image in validation.images])
    if not new.any():
        return Images(validation, own, "the champion was trained on all of them")
    remark = f"without {len(new) - int(new.sum()):,} of them on which the champion was trained" if not new.all() else ""
    return Images(validation.take(np.flatnonzero(new)), own, remark)
