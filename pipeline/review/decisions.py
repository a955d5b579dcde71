"""What is decided in a review, applied: kept images go to data/corrections/, what was decided leaves the inbox."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.core.errors import DataError, RepositoryError, StorageError
from pipeline.core.files import write_bytes
from pipeline.data.corrections import FOLDER, LABELS, digest, encode, file_of
from pipeline.review.inbox import Item, picture_digest, read_inbox

DATA: Final = Path("data")
DATA_FILE: Final = "data.dvc"
KEPT: Final = DATA / FOLDER


class Applied(NamedTuple):
    """How many corrections were kept, how many of them with another label than the user's, how many rejected, and how
    many of the kept images were there already."""

    kept: int = 0
    relabelled: int = 0
    rejected: int = 0
    known: int = 0


def parse_decisions(value: Any) -> dict[str, str | None]:
    """Labels by the names of corrections; null: rejected. Raises DataError."""
    if not isinstance(value, dict) or not all(label is None or label in LABELS for label in value.values()):
        raise DataError(f"decisions: expected names with a label of {', '.join(LABELS)} or null, got another value")
    return value


def apply(inbox: Path, decisions: Mapping[str, str | None], kept: Path = KEPT) -> Applied:
    """Write the kept images and remove what was decided from the inbox. An image that is kept already gets the new
    label. Interrupted, it can be repeated. Raises DataError or StorageError."""
    items, _ = read_inbox(inbox)
    applied = Applied()
    for item in items:
        if item.name not in decisions:
            continue
        label = decisions[item.name]
        if label is None:
            applied = applied._replace(rejected=applied.rejected + 1)
        else:
            is_known = keep(inbox, item, label, kept)
            applied = applied._replace(
                kept=applied.kept + 1,
                relabelled=applied.relabelled + (label != item.label),
                known=applied.known + is_known,
            )
        for name in (*item.earlier, item.name):
            shutil.rmtree(inbox / name)
    return applied


def keep(inbox: Path, item: Item, label: str, kept: Path) -> bool:
    """Write an image under its label, and nowhere else. Returns whether it was kept already; it stays that of the same
    picture then, by which it trains or is scored."""
    others = kept_files(kept, item)
    picture = others[0].name[: len(digest(item.image))] if others else picture_digest(inbox / item.name)
    path = kept / file_of(label, picture, item.image)
    write_bytes(path, encode(item.image))
    for other in others:
        if other != path:
            other.unlink()
    return bool(others)


def kept_files(kept: Path, item: Item) -> list[Path]:
    return list(kept.glob(f"*/*-{digest(item.image)}.png"))


def update_data_file(root: Path = Path()) -> None:
    """Give data.dvc the hash of data/. Raises StorageError or RepositoryError."""
    command = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", DATA_FILE]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"{DATA_FILE}: DVC did not run: {error}") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())[-500:]
        raise RepositoryError(f"{DATA_FILE}: the images are kept, but `dvc commit {DATA_FILE}` failed: {reason}")
