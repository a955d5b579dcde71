"""Where your own data are: at a path or URL. A checksum in params.yaml says which data these are."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from pipeline.core.errors import DataError, FetchError, ParamsError, StorageError
from pipeline.data.handwriting import visible_files
from pipeline.data.mnist_archives import try_download
from pipeline.data.own_idx import NAMES

KEY: Final = "params.yaml: download.own"
MAX_SIZE: Final = 2**30  # bytes of a file that holds arrays
MAX_PICTURES: Final = 100_000  # some milliseconds each


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the path, from the folder on, and the SHA-256 of each file that is not hidden, sorted by path."""
    lines = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_of(folder))
    return hashlib.sha256(
        "".join(sorted(lines, key=lambda line: line[66:])).encode(errors="surrogateescape")
    ).hexdigest()


def files_of(folder: Path) -> list[Path]:
    """All files that are not hidden. Raises DataError if they are more than MAX_PICTURES."""
    files = visible_files(folder)
    if len(files) > MAX_PICTURES:
        raise DataError(f"{folder}: got {len(files):,} files, expected at most {MAX_PICTURES:,} pictures")
    return files


def locate(source: str, checksum: str | None, root: Path, cache: Path) -> Path:
    """The file or folder at a path, relative to `root`, or at a URL, from which it is fetched unless it is in `cache`.

    A URL that ends in `/` is that of a folder of IDX files. Raises ParamsError, FetchError or DataError, also if the
    data do not have this `checksum`.
    """
    path = _fetched(source, checksum, cache) if "://" in source else _local(root / source)
    got = _sha256(path)
    if checksum is None:
        raise ParamsError(f"{KEY}.checksum: got null, expected the SHA-256 of {source}, which is {got}")
    if got != checksum:
        raise DataError(f"{source}: got SHA-256 {got}, expected {checksum} ({KEY}.checksum)")
    return path


def _sha256(path: Path) -> str:
    try:
        return folder_sha256(path) if path.is_dir() else file_sha256(path)
    except OSError as error:
        raise DataError(f"{error.filename}: expected a file that can be read, got: {error.strerror}") from error


def _local(path: Path) -> Path:
    if not path.is_dir() and not path.is_file():
        expected = f"an .npz file, a folder of pictures or one of IDX files ({KEY}.source)"
        raise DataError(f"{path}: expected {expected}, got no such file")
    if path.is_file() and path.stat().st_size > MAX_SIZE:
        raise DataError(f"{path}: got {path.stat().st_size:,} bytes, expected at most {MAX_SIZE:,}")
    return path


def _fetched(url: str, checksum: str | None, cache: Path) -> Path:
    if not url.startswith(("http://", "https://", "file://")):
        raise ParamsError(f"{KEY}.source: got {url!r}, expected a path or a URL of http, https or file")
    kept = cache / ("idx" if url.endswith("/") else "own.npz")
    if kept.exists() and _sha256(kept) == checksum:
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as partial:
            fetched = Path(partial) / kept.name
            if not url.endswith("/"):
                _fetch("an .npz file", [url], [fetched])
                return fetched.replace(kept)
            fetched.mkdir()
            for name in NAMES:
                names = [f"{name}.gz", name]
                _fetch("MNIST's four IDX files", [url + each for each in names], [fetched / each for each in names])
            shutil.rmtree(kept, ignore_errors=True)
            return fetched.replace(kept)
    except OSError as error:
        raise StorageError(f"cannot write {kept}: {error.strerror or error}") from error


def _fetch(expected: str, urls: list[str], paths: list[Path]) -> None:
    """Fetch from the first of the `urls` that can be fetched, to its path. Raises FetchError if there is none."""
    failures = []
    for url, path in zip(urls, paths, strict=True):
        if (failure := try_download(url, path, MAX_SIZE)) is None:
            return
        path.unlink(missing_ok=True)
        failures.append(f"{url}: {failure}")
    raise FetchError(f"expected {expected} ({KEY}.source), got: {'; '.join(failures)}")
