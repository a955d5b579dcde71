"""What happened when a stage ran: who ran it, when, for how long, on which hardware and with which packages.

Its outputs are the same bytes each time, so this is written beside them, to .cache/executions/ of the repository, in a
file whose name has the key of the stage's inputs: there MLflow gets it from, also for a result that DVC restores.
"""

import contextlib
import getpass
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pipeline.core import entrypoint
from pipeline.core.environment import PINS_FILE, differences, installed_version
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.core.stage_inputs import StageInputs, read_stage

_details: dict[str, Any] = {}  # of the stage that runs in this process


def log_details(**details: str | int) -> None:
    """Log what only the stage knows: `device` by name, `threads`, `processes`, `precision` (float32 or bfloat16)."""
    _details.update(details)


def run_stage(name: str, main: Callable[[], None]) -> NoReturn:
    """Run a stage's `main` and exit, as `entrypoint.run` does; if it succeeds, its execution is written."""
    # Of the processes that torchrun starts only rank 0 writes.
    is_recorded = "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"
    root = Path(os.environ.get("DVC_ROOT", "."))  # of a temporary experiment, the repository in which it was started
    entrypoint.run(lambda: execute(name, main, root) if is_recorded else main())


def execution_path(root: Path, name: str, inputs_key: str) -> Path:
    """Where the execution is that computed the result of these inputs last."""
    return root / ".cache" / "executions" / f"{name}-{inputs_key[:16]}.json"


def execute(name: str, main: Callable[[], None], root: Path) -> None:
    """Run `main`, then write the execution. Whether the stage succeeds, `main` alone decides."""
    _details.clear()
    try:
        stage = read_stage(name)  # before it runs: files may be edited meanwhile
        key = stage.inputs_key
        print_differences(stage)
    except (PipelineError, TypeError) as error:  # TypeError: a date in params.yaml, for example, is no JSON
        main()
        print_failure(name, error)
        return
    start, start_cpu, start_ms = time.perf_counter(), cpu_seconds(), time.time_ns() // 1_000_000
    main()
    spent = {
        "start": start_ms,
        "end": time.time_ns() // 1_000_000,
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(cpu_seconds() - start_cpu, 3),
        "peak_memory_mib": round(peak_memory() / 2**20, 1),
    }
    try:
        write_json(execution_path(root, name, key), {"stage": name, "inputs_key": key} | spent | describe(stage))
    except (PipelineError, UnicodeEncodeError) as error:
        print_failure(name, error)


def print_differences(stage: StageInputs) -> None:
    """Name the packages that are not the pinned ones. No error: whoever has an environment of their own, with torch for
    another GPU for example, gets results too, and `packages` in the execution has the versions."""
    if found := differences(stage.params.get(str(PINS_FILE), {})):
        print(
            f"note: {stage.name}: the result may differ from that of the pinned packages. {'; '.join(found)}. "
            "`make --always-make install` installs the pinned ones, `make lock` pins the newest",
            file=sys.stderr,
        )


def print_failure(name: str, error: Exception) -> None:
    print(f"note: {name}: its time, hardware and packages were not written: {error}", file=sys.stderr)


def describe(stage: StageInputs) -> dict[str, Any]:
    """Who ran the stage, on which machine, and with which packages."""
    processor = processor_name()
    packages = stage.params.get(str(PINS_FILE), {})
    return {
        "user": user_name(),
        "host": platform.node(),
        "processor": processor,
        "device": processor,
        "threads": 1,  # that compute
        "processes": 1,
        "python": platform.python_version(),
        "packages": {package: installed_version(package) for package in packages},
    } | _details


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run with a number that has no name
        return str(os.getuid())


def processor_name() -> str:
    """The processor's model as the operating system gives it, else its architecture."""
    with contextlib.suppress(OSError):
        if match := re.search(
            r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        ):
            return match[1]
    return platform.processor() or platform.machine()


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    with contextlib.suppress(OSError):
        # Not ru_maxrss, in which Linux keeps the memory of the process that started this one.
        if match := re.search(
            r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE
        ):
            return int(match[1]) * 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
