"""`make bench-pipeline`: what DVC and the stages cost in addition to the training itself.

Works in temporary clones, on the data set that params.yaml names: its archives come from .cache/archives if
`make repro` has downloaded them, else from DATASET_MIRROR or the network. Prints medians; training is cut to one epoch,
since only the time around it is measured.
"""

import os
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.hardware import hardware
from tests.support import project_clone
from tests.support.project_clone import ROOT, Clone

REPEATS = 15  # of commands that take seconds
CLONES = 3  # repetitions of what takes a minute
NO_OP, OVERHEAD, REVERT = 1.3, 30, 15  # goals: times a toy's no-op, and seconds
IMPORTS = {  # what each stage imports; making an optimizer or an export imports torch's compiler
    "download": "",
    "eda": "",
    "normalise": "",
    "train": ", torch._dynamo",
    "score": "",
    "export": ", torch._dynamo, torch.onnx, onnxscript",
    "track": "",
}
OWN_CONFIG = (ROOT / ".dvc/config").read_text()  # no usage reports, which cost a process each
STOCK_CONFIG = "[core]\n    check_update = false\n"  # else as after `dvc init`; a no-op checks for updates once a day
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9"}  # DVC tries to send usage reports; none leaves the machine
TOY = "stages:\n  toy:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n"


def seconds(repository: Clone, *command: str, **environment: str) -> tuple[float, str]:
    started = time.perf_counter()
    printed = repository.check_output(*command, **settings(), **environment)
    return time.perf_counter() - started, printed


def settings() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DATASET_MIRROR",) if name in os.environ}


def clone(folder: Path) -> Clone:
    repository = project_clone.copy(folder)
    repository.set("train", epochs=1)
    if (ROOT / ".cache/archives").is_dir():
        shutil.copytree(ROOT / ".cache/archives", folder / ".cache/archives")
    repository.commit()
    return repository


def toy(folder: Path, config: str) -> Clone:
    """A repository with one stage that copies a file, with this .dvc/config."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(config)
    (folder / ".dvc/.gitignore").write_text("/cache\n/tmp\n")
    (folder / "dvc.yaml").write_text(TOY)
    (folder / "in").write_text("1")
    repository = Clone(folder)
    repository.commit()
    repository.check_output("dvc", "repro", **NOWHERE)
    return repository


def no_op(*repositories: Clone) -> list[float]:
    """Median seconds of a `dvc repro` with nothing to do in each of the repositories, which take turns."""
    rounds = [
        [seconds(repository, "dvc", "repro", **NOWHERE)[0] for repository in repositories] for _ in range(REPEATS)
    ]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def overhead(folder: Path) -> tuple[float, float]:
    """Seconds of `dvc repro` from scratch, and those of the training loop in it."""
    elapsed, printed = seconds(clone(folder), "dvc", "repro")
    (loop,) = re.findall(r"the training loop took ([\d.]+) s", printed)
    return elapsed, float(loop)


def imports() -> float:
    """Seconds that imports take in all stages together, with the files in the page cache."""
    repository = Clone(ROOT)
    return sum(
        seconds(repository, "python", "-c", f"import pipeline.{name}{more}")[0] for name, more in IMPORTS.items()
    )


def stages_run(printed: str) -> str:
    return " ".join(re.findall(r"Running stage '(\w+)'", printed)) or "nothing"


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work) / str(number) for number in range(CLONES + 2)]
        for folder in folders:
            folder.mkdir()
        from_scratch = [overhead(folder) for folder in folders[:CLONES]]
        repository = Clone(folders[0])
        project, stock_toy, own_toy = no_op(repository, toy(folders[-2], STOCK_CONFIG), toy(folders[-1], OWN_CONFIG))
        repository.set("score", worst=12)
        score, score_stages = seconds(repository, "dvc", "repro")
        one, other, *_ = sorted((repository.folder / "data/7").iterdir())
        before = other.read_bytes()
        shutil.copy(one, other)
        picture, picture_stages = seconds(repository, "dvc", "repro")
        repository.set("train", seed=2)
        repository.check_output("dvc", "repro")
        repository.set("train", seed=1)
        repository.set("score", worst=36)
        other.write_bytes(before)
        back, back_stages = seconds(repository, "dvc", "repro")
    importing = statistics.median(imports() for _ in range(CLONES))
    around = statistics.median(whole - loop for whole, loop in from_scratch)
    print(hardware("dvc", "mlflow", "torch"))
    print(f"goals: no-op {NO_OP} ×; from scratch {OVERHEAD} s besides the training loop; revert in {REVERT} s")
    print(f"no-op dvc repro               {project:6.2f} s")
    print(f"  compared with one-stage toy {project / stock_toy:6.2f} × its {stock_toy:.2f} s, configured by `dvc init`")
    print(f"                              {project / own_toy:6.2f} × its {own_toy:.2f} s, without usage reports either")
    print(f"dvc repro from scratch        {around:6.1f} s besides the training loop, median of {CLONES}")
    print(f"  of that, imports            {importing:6.1f} s in the {len(IMPORTS)} stages")
    print(f"after a change of score.worst {score:6.1f} s: ran {stages_run(score_stages)}")
    print(f"after a changed picture       {picture:6.1f} s: ran {stages_run(picture_stages)}")
    print(f"back to earlier parameters    {back:6.1f} s: ran {stages_run(back_stages)}")


if __name__ == "__main__":
    main()
