"""Whatever a mirror sends or lies in a file: it is refused in one sentence, and takes little memory."""

import json
import re
from pathlib import Path

import pytest

from pipeline.core import config
from pipeline.core.errors import DataError, FetchError, ParamsError
from pipeline.core.files import MAX_DEPTH, MAX_SIZE, file_md5, read_json, read_yaml
from pipeline.data import handwriting, limits, mnist_archives
from serving.http.limits import MAX_BODY
from tests.support.bad_inputs import KINDS, measure

MEMORY = 150  # MB of a process; 50 of them are Python's, numpy's and Pillow's


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_in_one_sentence_and_takes_little_memory(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    megabytes, _, message = measure(kind)

    assert re.search(r": expected .*, got|could not fetch .* \(more than ", message), message
    assert "\n" not in message
    assert len(message) < 400
    assert megabytes < MEMORY


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_what_is_nested_as_deeply_as_allowed_is_read(tmp_path: Path, opening: str, closing: str) -> None:
    path, inner = tmp_path / "a.json", MAX_DEPTH - 1
    path.write_text(f'{{"a": {opening * inner}1{closing * inner}}}')
    assert read_json(path) == read_yaml(path)

    path.write_text(f'{{"a": {opening * MAX_DEPTH}1{closing * MAX_DEPTH}}}')
    with pytest.raises(DataError, match=r"a\.json: .*more than 50 objects and lists in each other"):
        read_json(path)
    with pytest.raises(ValueError, match="more than 50 mappings and lists in each other"):
        read_yaml(path)


def test_a_file_as_large_as_allowed_is_read(tmp_path: Path) -> None:
    text = json.dumps({"a": ""})
    (tmp_path / "a.json").write_text(text.ljust(MAX_SIZE))
    assert read_json(tmp_path / "a.json") == {"a": ""}

    (tmp_path / "a.json").write_text(text.ljust(MAX_SIZE + 1))
    with pytest.raises(DataError, match=r"a\.json: .*more than 2,000,000 bytes"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["a: *b", "a: [*b, &b 1]"])
def test_an_alias_of_nothing_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"found undefined alias"):
        config.read(tmp_path / "params.yaml")


def test_a_message_shows_the_start_of_a_long_value_and_the_first_of_many_errors(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"[{', '.join('x' * 10_000)}]")
    with pytest.raises(ParamsError, match=r"…$") as caught:
        config.read(path)
    assert len(str(caught.value)) < 500

    path.write_text(f"train: {{{', '.join(f'{chr(120)}{n}: 1' for n in range(1000))}}}")
    with pytest.raises(ParamsError, match="and 990 more") as caught:
        config.load("train", config.Section, path)
    assert len(str(caught.value)) < 1000


def test_a_picture_may_be_as_large_in_data_as_in_a_request(tmp_path: Path) -> None:
    assert limits.MAX_FILE == MAX_BODY
    (tmp_path / "3").mkdir()
    (tmp_path / "3/a.png").write_bytes(bytes(MAX_BODY))
    with pytest.raises(DataError, match="that are not a picture"):
        handwriting.read(tmp_path)

    (tmp_path / "3/a.png").write_bytes(bytes(MAX_BODY + 1))
    with pytest.raises(DataError, match=r"3/a\.png: expected a picture of at most 10 MB, got a larger file"):
        handwriting.read(tmp_path)


def test_a_mirror_that_takes_too_long_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_archives, "MAX_SECONDS", -1)
    (tmp_path / "a.gz").write_bytes(b"slow")
    with pytest.raises(FetchError, match=r"\(0 bytes in -1 s, the limit for an archive\)"):
        mnist_archives.fetch("a.gz", file_md5(tmp_path / "a.gz"), [f"{tmp_path.as_uri()}/"], tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
