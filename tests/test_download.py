"""Archives are fetched from a mirror, checked and cached; the embedded digits need no mirror."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import download
from pipeline.core.errors import FetchError
from pipeline.data import mnist_archives
from pipeline.data.dataset import DIGITS, Split, load_description
from tests.support.project_clone import idx

UNREACHABLE = "http://127.0.0.1:9/"  # refuses the connection, as on a machine without a network
NAMES = (*mnist_archives.TRAIN, *mnist_archives.TEST)


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # the same bytes each time: test runners compare the tests' names


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Published:
    """In place of torchvision's class: a data set of five training images and one test image, at `mirrors`."""

    def __init__(self, digits: Split, mirrors: list[str]) -> None:
        parts = digits.images[:5], digits.labels[:5], digits.images[5:6], digits.labels[5:6]
        self.archives = {name: idx(part) for name, part in zip(NAMES, parts, strict=True)}
        self.resources = [(name, md5(content)) for name, content in self.archives.items()]
        self.classes = ["0 - zero", "1 - one"]
        self.mirrors = mirrors

    def write(self, folder: Path) -> str:
        """Write the archives into `folder` and return its URL."""
        folder.mkdir()
        for name, content in self.archives.items():
            (folder / name).write_bytes(content)
        return folder.as_uri() + "/"


@pytest.fixture
def published(digits: Split, monkeypatch: pytest.MonkeyPatch) -> Published:
    """A data set whose only official mirror is unreachable."""
    source = Published(digits, [UNREACHABLE])
    monkeypatch.setattr(mnist_archives, "torchvision_dataset", lambda name: source)
    return source


@pytest.fixture
def truncating_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server that sends less than its Content-Length."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def fetch(content: bytes, sources: list[str], folder: Path) -> Path:
    return mnist_archives.fetch("a.gz", md5(content), sources, folder)


def mirror(folder: Path, content: bytes) -> str:
    folder.mkdir()
    (folder / "a.gz").write_bytes(content)
    return folder.as_uri() + "/"


def test_an_archive_is_fetched_and_nothing_else_is_left(tmp_path: Path) -> None:
    archive = fetch(b"right", [mirror(tmp_path / "mirror", b"right")], tmp_path / "cache")
    assert archive.read_bytes() == b"right"
    assert list((tmp_path / "cache").iterdir()) == [archive]


@pytest.mark.parametrize("content", [b"wrong", b"righ", b""])
def test_an_archive_with_another_checksum_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FetchError, match=rf"a\.gz: .*mirror/ \(its {len(content)} bytes do not have the published MD5"):
        fetch(b"right", [mirror(tmp_path / "mirror", content)], tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_next_mirror_is_tried_when_one_is_down_or_wrong(tmp_path: Path, truncating_server: str) -> None:
    wrong, right = mirror(tmp_path / "wrong", b"wrong"), mirror(tmp_path / "right", b"right")
    empty, unknown = f"{tmp_path.as_uri()}/empty/", "foo://mirror/"
    archive = fetch(b"right", [UNREACHABLE, truncating_server, empty, unknown, wrong, right], tmp_path / "cache")
    assert archive.read_bytes() == b"right"


def test_every_mirror_that_failed_is_named_with_its_reason(tmp_path: Path, truncating_server: str) -> None:
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:9/ \(.*refused.*4 bytes do not have.*make demo") as caught:
        fetch(b"right", [UNREACHABLE, truncating_server], tmp_path / "cache")
    assert truncating_server in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_data_set_is_loaded_as_it_was_published(tmp_path: Path, digits: Split, published: Published) -> None:
    published.write(tmp_path / "mnist")
    description, train, test = mnist_archives.load("mnist", tmp_path / "cache", f"{tmp_path.as_uri()}/{{dataset}}")
    assert (description.name, description.classes, description.sources) == ("mnist", DIGITS, dict(published.resources))
    assert np.array_equal(np.concatenate([train.images, test.images]), digits.images[:6])
    assert np.array_equal(np.concatenate([train.labels, test.labels]), digits.labels[:6])


def test_the_official_mirrors_are_used_without_an_own_one(tmp_path: Path, published: Published) -> None:
    published.mirrors.append(published.write(tmp_path / "official"))
    _, train, _ = mnist_archives.load("fashion_mnist", tmp_path / "cache", None)
    assert len(train) == 5


def test_what_was_fetched_is_not_fetched_again(
    tmp_path: Path, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.mirrors.append(published.write(tmp_path / "official"))
    first = mnist_archives.load("mnist", tmp_path / "cache", None)
    monkeypatch.setattr(mnist_archives, "torchvision_dataset", None)  # would raise if called
    again = mnist_archives.load("mnist", tmp_path / "cache", None)
    assert first[0] == again[0]
    assert np.array_equal(first[1].images, again[1].images)


@pytest.mark.parametrize("content", ["", "{}", '{"name": "mnist", "classes": ["0", "1"], "sources": {}}'])
def test_a_damaged_description_in_the_cache_is_written_again(
    tmp_path: Path, published: Published, content: str
) -> None:
    published.mirrors.append(published.write(tmp_path / "official"))
    first, *_ = mnist_archives.load("mnist", tmp_path / "cache", None)
    (tmp_path / "cache" / "dataset.json").write_text(content)
    (tmp_path / "cache" / NAMES[0]).write_bytes(b"half")  # still found by its checksum

    again, train, _ = mnist_archives.load("mnist", tmp_path / "cache", None)

    assert again == first == load_description(tmp_path / "cache" / "dataset.json")
    assert len(train) == 5


def test_what_was_fetched_stays_when_a_later_file_fails(tmp_path: Path, published: Published) -> None:
    published.mirrors.append(published.write(tmp_path / "official"))
    (tmp_path / "official" / NAMES[3]).write_bytes(b"half")
    with pytest.raises(FetchError, match=NAMES[3]):
        mnist_archives.load("mnist", tmp_path / "cache", None)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == set(NAMES[:3])


def test_an_archive_damaged_on_disk_is_fetched_again(tmp_path: Path, published: Published) -> None:
    published.mirrors.append(published.write(tmp_path / "official"))
    mnist_archives.load("mnist", tmp_path / "cache", None)
    (tmp_path / "cache" / NAMES[0]).write_bytes(b"half")
    assert len(mnist_archives.load("mnist", tmp_path / "cache", None)[1]) == 5


@pytest.mark.parametrize("own_mirror", ["", "http://mirror/mnist", "/mirror/{dataset}", "{dataset}"])
def test_an_own_mirror_without_a_placeholder_is_refused(published: Published, own_mirror: str) -> None:
    with pytest.raises(FetchError, match=r"DATASET_MIRROR: got .*, expected a URL with {dataset} in it"):
        mnist_archives.mirrors("mnist", own_mirror)


def test_the_published_checksums_are_those_of_torchvision() -> None:
    assert mnist_archives.describe("mnist").sources == {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    assert mnist_archives.describe("kmnist").classes[1] == "ki"


def test_the_embedded_digits_need_neither_mirror_nor_disk(tmp_path: Path) -> None:
    description, train, test = download.load("digits", tmp_path / "nowhere", own_mirror="no mirror")
    assert description.is_digits
    assert (len(train), len(test), len(train) + len(test)) == (1438, 359, 1797)
    assert train.images.shape[1:] == test.images.shape[1:] == (28, 28)
    assert set(train.labels) == set(test.labels) == set(range(10))
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzipped(b""),
        gzipped(b"a seven, in words" * 200),
        gzipped(b"\0\0\x08\xff"),
        gzipped(b"\0\0\x08\x01")[:-9],
        gzipped(b"\0\0\x08\x01\0\0\0\x02\x05"),
        gzipped(b"\0\0\x0d\x01\0\0\0\x01\x05"),
    ],
)
def test_an_archive_that_is_not_an_idx_file_of_bytes_is_named_in_the_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(FetchError, match=r"a\.gz: expected an IDX file of unsigned bytes"):
        mnist_archives.read_idx(tmp_path / "a.gz")
