"""`make container`: the Bento that `make bento` built last as an OCI image, by docker, podman or buildah.

Reads    .cache/bento: the Bento's tag. CONTAINER_OPTIONS: more options of `bentoml containerize`, e.g.
         `--opt isolation=chroot`.
Writes   the image, named like the Bento, in the engine's own store; .cache/image, its name.
Decides  the engine: the first that is installed and answers.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Final

from pipeline.core import entrypoint
from pipeline.core.errors import StorageError
from pipeline.core.files import write_text

BENTO: Final = Path(".cache/bento")
IMAGE: Final = Path(".cache/image")
ENGINES: Final = ("docker", "podman", "buildah")
SAFE: Final = (
    "-e BENTOML_HOME=/tmp/bentoml --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "
    "--memory 512m"
)
LOOK: Final = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"
HEALTH: Final = f'python -c "{LOOK}"'  # there is no curl in the image


def answers(engine: str) -> bool:
    """Whether the engine is installed and works; docker's client without its server does not."""
    try:
        done = subprocess.run([engine, "info"], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def engine() -> str:
    for name in ENGINES:
        if answers(name):
            return name
    raise StorageError(f"expected a container engine that answers to `info`, one of {', '.join(ENGINES)}; got none")


def build(bento: str, name: str) -> str:
    """Build the image; its name. Raises StorageError with the last words of the engine."""
    image = f"localhost/{bento}" if name != "docker" else bento
    options = shlex.split(os.environ.get("CONTAINER_OPTIONS", ""))
    command = ["bentoml", "containerize", bento, "--backend", name, "--image-tag", image, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise StorageError(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}")
    return image


def size(image: str, name: str) -> str:
    """The size of an image, as its engine says it: `719 MB`."""
    command = [name, "images", "--format", "{{.Size}}", image]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    if not BENTO.exists():
        raise StorageError(f"{BENTO}: expected the tag of a Bento, got no file; type `make bento`")
    name = engine()
    image = build(BENTO.read_text(encoding="utf-8"), name)
    write_text(IMAGE, image)
    runner = "podman" if name == "buildah" else name
    health = f"--health-cmd {shlex.quote(HEALTH)} --health-interval 10s --health-start-period 30s"
    run = f"{runner} run --rm -p 127.0.0.1:3000:3000 {SAFE} {health} {image} --timeout-graceful-shutdown 8"
    print(f"image {image}, {size(image, name)}, built by {name}; to run it:\n{run}")


if __name__ == "__main__":
    entrypoint.run(main)
