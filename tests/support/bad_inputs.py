"""Bad input to the pipeline: what a mirror sends, and files that a person or a disk puts in its place.

`python -m tests.support.bad_inputs` reads each kind in a process of its own, and prints its peak memory, how long it
took, and the message. `python -m tests.support.bad_inputs KIND` reads one.
"""

import contextlib
import gzip
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from pipeline.core import config
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.data import handwriting, mnist_archives
from pipeline.tracking import dvc_lock

LARGE: Final = 3 * 2**30  # bytes
LEVELS: Final = 7
WIDTH: Final = 9
MB: Final = 2**20


class Outcome(NamedTuple):
    megabytes: int
    seconds: float
    message: str


@contextmanager
def endless_mirror(declared: int | None = None) -> Iterator[str]:
    """The URL of a server that sends 3 GB of zeros, with a Content-Length if that is `declared`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if declared:
                self.send_header("Content-Length", str(declared))
            self.end_headers()
            try:
                for _ in range(LARGE // MB):
                    self.wfile.write(bytes(MB))
            except OSError:
                pass  # the client has enough

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def fetch(folder: Path, declared: int | None = None) -> None:
    with endless_mirror(declared) as url:
        mnist_archives.fetch("a.gz", "0" * 32, [url], folder)


def sparse(path: Path) -> Path:
    """A file of 3 GB of zeros that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lists_of_aliases() -> str:
    """Nine times nine … times nine values."""
    lines = [f"- &a0 [{', '.join('x' * WIDTH)}]"]
    return "\n".join([*lines, *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * WIDTH)}]" for n in range(1, LEVELS + 1))])


def merged_aliases() -> str:
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * WIDTH)}]}}" for n in range(1, LEVELS + 1)]
    return "\n".join(lines)


def bomb(zeros: int, *sizes: int) -> bytes:
    """A gzipped IDX file that declares these sizes and contains as many zeros, in members of 16 MB."""
    header = b"\0\0\x08" + bytes([len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)
    return gzip.compress(header) + gzip.compress(bytes(16 * MB)) * (zeros // (16 * MB))


def read_params(path: Path) -> None:
    config.load("train", config.Section, path)


# Each raises a PipelineError when it is called with an empty folder.
KINDS: Final[dict[str, Callable[[Path], object]]] = {
    "a mirror that sends without end": fetch,
    "a mirror that announces 3 GB": lambda folder: fetch(folder, LARGE),
    "a picture of 3 GB": lambda folder: handwriting.read(sparse(folder / "data/3/a.png").parents[1]),
    "a params.yaml of 3 GB": lambda folder: read_params(sparse(folder / "params.yaml")),
    "lists of aliases in params.yaml": lambda folder: read_params(written(folder / "params.yaml", lists_of_aliases())),
    "merged aliases in params.yaml": lambda folder: read_params(written(folder / "params.yaml", merged_aliases())),
    "an alias of itself in params.yaml": lambda folder: read_params(written(folder / "params.yaml", "train: &a [*a]")),
    "300 lists in each other in dvc.lock": lambda folder: dvc_lock.read_lock(
        written(folder / "dvc.lock", "stages: " + "[" * 300 + "]" * 300)
    ),
    "100,000 lists in each other in dvc.lock": lambda folder: dvc_lock.read_lock(
        written(folder / "dvc.lock", "stages: " + "[" * 100_000 + "]" * 100_000)
    ),
    "500,000 values in dvc.lock": lambda folder: dvc_lock.read_lock(
        written(folder / "dvc.lock", "stages: [" + "1, " * 500_000 + "]")
    ),
    "a JSON file of 3 GB": lambda folder: read_json(sparse(folder / "a.json")),
    "100,000 lists in each other in JSON": lambda folder: read_json(
        written(folder / "a.json", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    ),
    "an archive of one image and 3 GB": lambda folder: mnist_archives.read_idx(
        written(folder / "a.gz", bomb(LARGE, 1, 28, 28))
    ),
    "an archive of four million images": lambda folder: mnist_archives.read_idx(
        written(folder / "a.gz", bomb(LARGE, LARGE // 784, 28, 28))
    ),
}


def attack(kind: str) -> str:
    """Read it; return the message of the error. Raises AssertionError if it is accepted or leaves something behind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            KINDS[kind](folder)
        except PipelineError as error:
            left = [path for path in folder.rglob(".*") if path.is_file()]
            assert not left, left
            return str(error)
    raise AssertionError(f"{kind}: accepted")


def peak_memory() -> int:
    """MB of memory of this process at its peak if Linux reports it, else now. (`getrusage` starts at its parent's.)"""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) // 2**10
    return int(psutil.Process().memory_info().rss) // MB


def measure(kind: str) -> Outcome:
    """Read it in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.bad_inputs", kind], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return Outcome(0, 0.0, f"exit status {done.returncode}: {last[:200]}")
    megabytes, seconds, message = done.stdout.rstrip("\n").split(maxsplit=2)
    return Outcome(int(megabytes), float(seconds), message)


def main() -> None:
    if len(sys.argv) > 1:
        started = time.perf_counter()
        message = attack(sys.argv[1])
        print(peak_memory(), f"{time.perf_counter() - started:.1f}", message)
        return
    for kind in KINDS:
        megabytes, seconds, message = measure(kind)
        print(f"{kind:40} {megabytes:5} MB  {seconds:5.1f} s  {message[:200]}", flush=True)


if __name__ == "__main__":
    main()
