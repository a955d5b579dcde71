"""`make fuzz`: many kinds of bad input against the live service, `python -m tests.fuzz [examples of each kind]`.

It ends well if every answer has a status that its kind allows and the one JSON schema, no worker died, and the memory
is steady; then schemathesis compares the service with its own description.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx2
import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings

from serving.problems import STATUS
from serving.trial import running
from tests.bad_requests import KINDS, Kind, Request

BENTO: Final = Path(".cache/bento")
EXAMPLES: Final = 800  # of each kind
REQUESTS: Final = 20_000  # at least, of so many examples
WARM: Final = 50  # examples of each kind before its memory is looked at: Python keeps room for the largest that it had
STEADY: Final = 40.0  # MB by which the worker may grow after that
KEYS: Final = {"code", "message", "got", "expected"}


def check(request: Request, response: httpx2.Response, statuses: set[int]) -> None:
    """AssertionError when the answer is not one that bad input should get."""
    asked = f"{request.method} {request.path} {request.headers} {request.content[:80]!r}"
    told = f"{asked}: {response.status_code} {response.text[:300]}"
    assert response.status_code in statuses, told
    if response.status_code != 200 and request.method != "HEAD":
        problem = response.json()
        assert set(problem) <= KEYS, told
        assert STATUS[problem["code"]] == response.status_code, told


def attack(client: httpx2.Client, kind: Kind, examples: int) -> Counter[int]:
    """Statuses of the answers to so many requests of a kind."""
    seen: Counter[int] = Counter()

    @seed(1)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.requests)
    def one(request: Request) -> None:
        response = client.request(request.method, request.path, headers=request.headers, content=request.content)
        seen[response.status_code] += 1
        check(request, response, kind.statuses)

    one()
    return seen


def worker_of(port: str) -> psutil.Process:
    """The process that answers there: BentoML's worker."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "_bentoml_impl.worker.service" in line:
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                if parent is not None and f"--port {port}" in " ".join(parent.cmdline()):
                    return process
    raise AssertionError(f"no worker answers at port {port}")


def by_its_description(url: str, examples: int) -> None:
    """Schemathesis: whatever the description allows is answered, and every answer is as described."""
    tool = str(Path(sys.executable).parent / "schemathesis")
    command = [tool, "run", f"{url}/docs.json", "--url", url, "--seed", "1"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    subprocess.run([*command, "--max-examples", str(examples), "--checks", checks, "--workers", "1"], check=True)


def fuzz(url: str, examples: int, say: Callable[[str], None] = print) -> int:
    """All kinds against the service at `url`; how many requests that were."""
    worker, total, memory = worker_of(url.rpartition(":")[2]), 0, []
    with httpx2.Client(base_url=url, timeout=30) as client:
        total += sum(attack(client, kind, min(WARM, examples)).total() for kind in KINDS.values())
        before = worker.memory_info().rss / 2**20
        for name, kind in KINDS.items():
            started = time.perf_counter()
            seen = attack(client, kind, examples)
            total += seen.total()
            memory.append(worker.memory_info().rss / 2**20)
            statuses = ", ".join(f"{status}: {count}" for status, count in sorted(seen.items()))
            took = time.perf_counter() - started
            say(f"{name:30} {seen.total():6} requests  {took:5.1f} s  {memory[-1]:4.0f} MB  {statuses}")
    growth = memory[-1] - before
    assert worker.is_running(), "the worker died"
    assert growth < STEADY, f"the worker grew by {growth:.0f} MB"
    say(f"{total} requests of {len(KINDS)} kinds: no wrong status, no dead worker, {growth:+.0f} MB from {before:.0f}")
    return total


def main() -> None:
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES
    with tempfile.TemporaryDirectory() as folder, running(BENTO.read_text(), Path(folder) / "log") as url:
        total = fuzz(url, examples)
        assert total >= REQUESTS or examples < EXAMPLES, f"only {total} requests"
        by_its_description(url, max(5, examples // 8))


if __name__ == "__main__":
    main()
