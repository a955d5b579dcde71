"""`make container`: builds an OCI image of the Bento that `make bento` built last, with docker, podman or buildah.

Reads    .cache/bento: the Bento's tag. CONTAINER_OPTIONS: further options for `bentoml containerize`, for example
         `--opt isolation=chroot`.
Writes   the image, named like the Bento, to the engine's own store; .cache/image: its name.
Decides  which engine builds it: the first that is installed and works.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Final

from pipeline.core import entrypoint
from pipeline.core.errors import StorageError
from pipeline.core.files import write_text

BENTO_FILE: Final = Path(".cache/bento")
IMAGE_FILE: Final = Path(".cache/image")
ENGINES: Final = ("docker", "podman", "buildah")
RUN_OPTIONS: Final = (
    "-e BENTOML_HOME=/tmp/bentoml --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "
    "--memory 512m"
)
HEALTH_CHECK: Final = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"
HEALTH_COMMAND: Final = f'python -c "{HEALTH_CHECK}"'  # the image has no curl


def is_available(engine: str) -> bool:
    """Whether the engine is installed and works: docker's client does not work without its server."""
    try:
        done = subprocess.run([engine, "info"], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find_engine() -> str:
    for engine in ENGINES:
        if is_available(engine):
            return engine
    raise StorageError(f"expected a container engine whose `info` succeeds, one of {', '.join(ENGINES)}; got none")


def build(bento: str, engine: str) -> str:
    """Build the image and return its name. Raises StorageError with the end of the engine's output."""
    image = f"localhost/{bento}" if engine != "docker" else bento
    options = shlex.split(os.environ.get("CONTAINER_OPTIONS", ""))
    command = ["bentoml", "containerize", bento, "--backend", engine, "--image-tag", image, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise StorageError(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}")
    return image


def image_size(image: str, engine: str) -> str:
    """The size of an image as its engine prints it, for example `719 MB`."""
    command = [engine, "images", "--format", "{{.Size}}", image]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    if not BENTO_FILE.exists():
        raise StorageError(f"{BENTO_FILE}: expected the tag of a Bento, got no file; run `make bento`")
    engine = find_engine()
    image = build(BENTO_FILE.read_text(encoding="utf-8"), engine)
    write_text(IMAGE_FILE, image)
    runner = "podman" if engine == "buildah" else engine
    health = f"--health-cmd {shlex.quote(HEALTH_COMMAND)} --health-interval 10s --health-start-period 30s"
    run = f"{runner} run --rm -p 127.0.0.1:3000:3000 {RUN_OPTIONS} {health} {image} --timeout-graceful-shutdown 8"
    print(f"image {image}, {image_size(image, engine)}, built by {engine}; to run it:\n{run}")


if __name__ == "__main__":
    entrypoint.run(main)
