"""`make judge PICTURES=folder`: judges a model or a running service on labelled pictures that people have collected.

Reads    the pictures (benchmarks/labelled_pictures.py says how they are labelled), and artifacts/export/model.onnx, the
         model that `--model` names, or the service at `--url`.
Writes   judged.csv (an answer per picture), table.md and mistakes.png to `--out`, .cache/judged/<folder> by default; in
         MLflow a run of the experiment `judge`, the same one if the same model is judged again on the same pictures.
Decides  nothing: the pictures choose neither a model nor a threshold.
"""

import argparse
import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tqdm import tqdm

from benchmarks.judgement import Judged, figures, judge, shares
from benchmarks.labelled_pictures import Picture, digest, read_folder
from benchmarks.mistakes_sheet import mistakes_sheet
from pipeline.core import entrypoint
from pipeline.core.errors import DataError
from pipeline.core.files import parse_json, write_bytes, write_csv, write_text
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, mlflow_errors
from pipeline.tracking.tracking_uri import display_uri
from serving.http import handlers
from serving.http.errors import Problem
from serving.http.responses import json_response
from serving.model import Model

EXPORTED: Final = Path("artifacts/export/model.onnx")
OUT: Final = Path(".cache/judged")
EXPERIMENT: Final = "judge"  # in MLflow
TIMEOUT: Final = 30  # seconds, of one request
MAX_LISTED: Final = 10  # files that are refused
HEADER: Final = ("file", "kind", "label", "writer", "note", "got", "right", "confidence", "digit_score")

Answer = Mapping[str, Any]


class Judgeable(NamedTuple):
    """A model, and what it answers to a picture: `/read`'s answer for a row, else `/predict`'s, or an error's code."""

    name: str
    identity: str
    """SHA-256 of the model, where it is known."""
    answer: Callable[[Picture], Answer]


def in_process(path: Path) -> Judgeable:
    """An exported model, by the service's own handlers. Raises DataError."""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        model = Model(path, f"{path.stem}:{sha256[:8]}")
    except OSError as error:
        raise DataError(f"{path}: expected a model that `make repro` exported, got none ({error.strerror})") from error
    except Exception as error:  # onnxruntime has an exception of its own for each kind of damage
        raise DataError(f"{path}: expected an exported model, got: {' '.join(str(error).split())[:200]}") from error

    def answer(picture: Picture) -> Answer:
        handler = handlers.read if picture.kind == "rows" else handlers.predict
        try:
            content: Answer = parse_json(bytes(json_response(handler(model, picture.content, True)).body))
        except Problem as problem:
            return problem.content()
        return content

    return Judgeable(f"{model.dataset}:{sha256[:8]}", sha256, answer)


def over_http(url: str) -> Judgeable:
    """A running service. Raises DataError, also later, if it does not answer."""
    about = request(f"{url}/model")
    if "model" not in about:
        raise DataError(f"{url}: expected this project's service, got {str(about)[:100]}")

    def answer(picture: Picture) -> Answer:
        return request(f"{url}/{'read' if picture.kind == 'rows' else 'predict'}?seen=true", picture.content)

    return Judgeable(about["model"], about.get("labels", {}).get("sha256", about["model"]), answer)


def request(url: str, content: bytes | None = None) -> Answer:
    """The JSON that the service answers, also where it refuses a picture. Raises DataError."""
    try:
        sent = urllib.request.Request(url, content, {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(sent, timeout=TIMEOUT) as response:
            received = response.read()
    except urllib.error.HTTPError as error:
        received = error.read()
        if error.code >= 500 or error.code in (404, 429):
            raise DataError(f"{url}: got status {error.code}: {received[:200].decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{url}: expected a running service, got: {getattr(error, 'reason', error)}") from error
    try:
        answer = parse_json(received)
    except ValueError as error:
        raise DataError(f"{url}: expected JSON, got {received[:100]!r}") from error
    if not isinstance(answer, dict):
        raise DataError(f"{url}: expected a JSON object, got {received[:100]!r}")
    return answer


def table(judged: Sequence[Judged]) -> str:
    """Markdown, with the shares and the other figures."""
    parts = [f"| {one.name} | {one.right} of {one.of} | {one.value:.2%} |" for one in shares(judged)]
    others = [
        f"| {name} | | {value:.4f} |" if name.isupper() else f"| {name} | | {value:.2%} |"
        for name, value in figures(judged).items()
    ]
    return "\n".join(["| pictures | right | |", "|---|---|---|", *parts, *others]) + "\n"


def refusals(judged: Sequence[Judged]) -> list[str]:
    """A line for each file that the service refuses: it may be no picture at all."""
    refused = [f"refused: {one.picture.file}: {one.refusal}" for one in judged if one.refusal]
    more = len(refused) - MAX_LISTED
    return refused[:MAX_LISTED] + ([f"and {more} more, see judged.csv"] if more > 0 else [])


def metrics(judged: Sequence[Judged]) -> dict[str, float]:
    """The table's figures by names that MLflow accepts."""
    values = {one.name: one.value for one in shares(judged)} | figures(judged)
    return {re.sub(r"[^\w.-]+", "_", name): value for name, value in values.items()}


def save(judged: Sequence[Judged], out: Path) -> list[Path]:
    """Write the table, the answers and the sheet of the mistakes, and return their paths."""
    files = [out / name for name in ("table.md", "judged.csv", "mistakes.png")]
    write_text(files[0], table(judged))
    answers = (
        [*one.picture[:1], *one.picture[2:], one.got, one.is_right, f"{one.confidence:.6f}", f"{one.digit_score:.6f}"]
        for one in judged
    )
    write_csv(files[1], HEADER, answers)
    write_bytes(files[2], mistakes_sheet(judged))
    return files


def log(folder: str, judgeable: Judgeable, judged: Sequence[Judged], files: Sequence[Path], root: Path) -> str:
    """Log to MLflow, and return the run's name. Raises TrackingError."""
    key = digest(one.picture for one in judged)
    tags = {"judge.pictures": key, "judge.model": judgeable.identity}
    with mlflow_errors(root):
        store = MlflowStore(root, EXPERIMENT)
        name = f"{folder} {judgeable.name}"
        run = store.find_run(tags) or store.create_run(name, tags)
        store.log_params(run, {"pictures": len(judged), "folder": folder, "model": judgeable.name})
        store.set_metrics(run, metrics(judged))
        store.set_tags(run, {"mlflow.note.content": table(judged)})
        for path in files:
            store.client.log_artifact(run.info.run_id, str(path))
        store.end_run(run)
    return name


def main() -> None:
    parser = argparse.ArgumentParser(prog="make judge", description="Judge a model or a service on labelled pictures.")
    parser.add_argument("pictures", type=Path, help="folder with index.csv, or with a folder for each label")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--url", help="of a running service, such as http://127.0.0.1:3000")
    chosen.add_argument("--model", type=Path, default=EXPORTED, help="an exported model")
    parser.add_argument("--out", type=Path, help="folder for the table, the answers and the mistakes")
    parser.add_argument("--no-mlflow", action="store_true", help="log nothing")
    arguments = parser.parse_args()
    pictures = read_folder(arguments.pictures)
    judgeable = over_http(arguments.url.rstrip("/")) if arguments.url else in_process(arguments.model)
    bar = tqdm(pictures, desc="judging", unit="picture", leave=False, disable=None)
    judged = [judge(picture, judgeable.answer(picture)) for picture in bar]
    name = arguments.pictures.resolve().name
    files = save(judged, arguments.out or OUT / name)
    print(f"{judgeable.name} on {len(judged)} pictures in {arguments.pictures}\n\n{table(judged)}")
    print("\n".join([*refusals(judged), *map(str, files)]))
    if not arguments.no_mlflow:
        configure_mlflow()
        root = Path(os.environ.get("DVC_ROOT", "."))
        run = log(name, judgeable, judged, files, root)
        print(f"MLflow at {display_uri(root)}: run {run!r} in the experiment {EXPERIMENT!r}")


if __name__ == "__main__":
    entrypoint.run(main)
