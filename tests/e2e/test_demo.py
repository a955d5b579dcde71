"""The README's first command in a fresh clone, with an empty home and almost no environment variables."""

import os
import subprocess
from pathlib import Path

from tests.support.project_clone import git_clone


def test_make_demo_works_on_a_machine_with_nothing_but_python(tmp_path: Path) -> None:
    clone = git_clone(tmp_path / "demo")
    home = tmp_path / "home"
    home.mkdir()
    kept = ("SSL_CERT_FILE", "UV_CACHE_DIR", "PIP_CERT")  # how packages are reached
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if ".venv" not in folder)

    def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "demo", *arguments],
            cwd=clone.folder,
            env=environment | {"HOME": str(home), "PATH": path},
            capture_output=True,
            text=True,
            timeout=1800,  # seconds; it takes two or three minutes
        )

    done = demo()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "make ui" in done.stdout
    assert clone.check_output("git", "status", "--porcelain") == ""
    (parent,) = clone.parents()
    assert parent.info.run_name == "demo"
    assert parent.data.metrics["test_accuracy"] > 0.95
    assert [sorted(version.aliases) for version in clone.versions("digits")] == [["candidate", "champion", "demo"]]
    assert "digits version 1: promoted" in done.stdout
    assert "6 GB" in done.stdout

    again = demo()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "pipeline.train" not in again.stdout  # it comes from the run-cache
    assert "digits version 1 is the champion" in again.stdout
    assert len(clone.parents()) == 1

    other = demo("SET=train.epochs=3")
    assert other.returncode == 0, other.stdout + other.stderr
    assert "digits version 2: refused" in other.stdout
    assert (clone.folder / ".cache/bento").read_text().startswith("digits-service:v2-")  # not the champion, which is v1
    assert clone.check_output("git", "status", "--porcelain") == ""
