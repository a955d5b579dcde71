"""`make review`: a page on this machine on which corrections by users are kept, relabelled or rejected.

Reads    the folder in which the service stored them (CORRECTIONS), or a copy of it.
Writes   data/corrections/<label>/<picture>-<image>.png: the 28×28 images that were kept; data.dvc: the new hash. What
         was decided is removed from the folder.
Decides  nothing: a person does.
"""

import argparse
import contextlib
from pathlib import Path

from pipeline.core import entrypoint
from pipeline.core.errors import DataError, StorageError
from pipeline.review.decisions import DATA_FILE
from pipeline.review.inbox import read_inbox
from pipeline.review.server import HOST, ReviewServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="make review", description="Review corrections by users of the service.")
    parser.add_argument("folder", type=Path, help="where the service stored corrections")
    parser.add_argument("--port", type=int, default=3001, help="on 127.0.0.1")
    arguments = parser.parse_args()
    items, problems = read_inbox(arguments.folder)
    if not Path(DATA_FILE).is_file():
        raise DataError(f"{DATA_FILE}: expected to be run in the repository, got no such file")
    try:
        server = ReviewServer(arguments.folder, arguments.port)
    except OSError as error:
        raise StorageError(f"port {arguments.port}: cannot be used: {error.strerror}") from error
    print(*problems, f"{len(items)} corrections wait at http://{HOST}:{server.server_address[1]}/", sep="\n")
    print("(Ctrl-C ends the review; what was saved stays saved)", flush=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    entrypoint.run(main)
