"""`make container`: builds an OCI image of the Bento that `make bento` built last, with docker, podman or buildah.

Reads    .cache/bento: the Bento's tag. CONTAINER_OPTIONS: further options for `bentoml containerize`, for example
         `--opt isolation=chroot`. BASE_DIGEST: `sha256:…` of the base image; what its tag names now if left out.
Writes   the image, named like the Bento, to the engine's own store; .cache/image: its name. The base image and its
         digest are printed, and are labels of the image.
Decides  which engine builds it: the first that is installed and works.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Final

import bentoml

from pipeline.core import entrypoint
from pipeline.core.errors import StorageError
from pipeline.core.files import write_text

BENTO_FILE: Final = Path(".cache/bento")
IMAGE_FILE: Final = Path(".cache/image")
ENGINES: Final = ("docker", "podman", "buildah")
RUN_OPTIONS: Final = (
    "-e BENTOML_HOME=/tmp/bentoml --read-only --tmpfs /tmp:size=64m,mode=1777 --cap-drop ALL "
    "--security-opt no-new-privileges --memory 512m --memory-swap 512m --pids-limit 128"
)
# What prints an image's digest, as the last word after any `@`.
DIGEST: Final = {
    "docker": ("image", "inspect", "--format", "{{index .RepoDigests 0}}"),
    "podman": ("image", "inspect", "--format", "{{index .RepoDigests 0}}"),
    "buildah": ("inspect", "--type", "image", "--format", "{{.FromImageDigest}}"),
}
LABEL: Final = "org.opencontainers.image.base"
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


def base_digest(base: str, engine: str, options: list[str]) -> str:
    """The digest of the base image, `sha256:…`: BASE_DIGEST, or what its tag names now.

    Raises StorageError if it cannot be found out.
    """
    if digest := os.environ.get("BASE_DIGEST"):
        return digest
    if not any("pull-never" in option for option in options):
        subprocess.run([engine, "pull", base], capture_output=True)
    done = subprocess.run([engine, *DIGEST[engine], base], capture_output=True, text=True)
    digest = done.stdout.strip().rpartition("@")[2]
    if not digest.startswith("sha256:"):
        reason = " ".join(done.stderr.split()) or "no digest"
        raise StorageError(
            f"{base}: expected a base image with a digest, got: {reason}; BASE_DIGEST=sha256:… names one"
        )
    return digest


def pin_base(base: str, digest: str) -> list[str]:
    """Options of `bentoml containerize`: the Dockerfile's `FROM base` means this digest, and the image has labels."""
    pinned = f"{base.rpartition(':')[0]}@{digest}"
    options = (f"build-context={base}=docker-image://{pinned}", f"label={LABEL}.name={base}")
    return [word for option in (*options, f"label={LABEL}.digest={digest}") for word in ("--opt", option)]


def build(bento: str, engine: str) -> tuple[str, str]:
    """Build the image; return its name and that of its base image. Raises StorageError."""
    image = f"localhost/{bento}" if engine != "docker" else bento
    options = shlex.split(os.environ.get("CONTAINER_OPTIONS", ""))
    base: str = bentoml.bentos.get(bento).info.image.base_image  # type: ignore[attr-defined]  # of BentoInfoV2
    digest = base_digest(base, engine, options)
    command = ["bentoml", "containerize", bento, "--backend", engine, "--image-tag", image]
    command += [*pin_base(base, digest), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise StorageError(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}")
    return image, f"{base}@{digest}"


def image_size(image: str, engine: str) -> str:
    """The size of an image as its engine prints it, for example `719 MB`."""
    command = [engine, "images", "--format", "{{.Size}}", image]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    if not BENTO_FILE.exists():
        raise StorageError(f"{BENTO_FILE}: expected the tag of a Bento, got no file; run `make bento`")
    engine = find_engine()
    image, base = build(BENTO_FILE.read_text(encoding="utf-8"), engine)
    write_text(IMAGE_FILE, image)
    runner = "podman" if engine == "buildah" else engine
    health = f"--health-cmd {shlex.quote(HEALTH_COMMAND)} --health-interval 10s --health-start-period 30s"
    run = f"{runner} run --rm -p 127.0.0.1:3000:3000 {RUN_OPTIONS} {health} {image} --timeout-graceful-shutdown 8"
    print(f"image {image}, {image_size(image, engine)}, built by {engine} on {base}; to run it:\n{run}")


if __name__ == "__main__":
    entrypoint.run(main)
