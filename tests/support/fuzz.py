"""`make fuzz`: many kinds of bad input against the live service.

`python -m tests.support.fuzz [REQUESTS]` sends over 20,000 requests, or at least as many as given: first by one client,
kind by kind, so that each kind has its figures; then by several processes at once, in rounds of all kinds, each for
about the same time.

It passes if every response has a status that its kind allows and the JSON schema of problems, no worker dies, and
memory stays below its limit and does not leak; then schemathesis compares the service with its OpenAPI description.

Memory always grows at first: allocators keep, for each thread, room for its largest request. So some of the same
requests are repeated. A leak grows in every repeat, and in every round, a plateau does not.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count as count_from
from itertools import pairwise, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import httpx2
import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings

from serving.http.errors import STATUS
from serving.smoke_test import running
from tests.support.bad_requests import KINDS, Kind, Request

BENTO: Final = Path(".cache/bento")
EXAMPLES: Final = 800  # of each kind
REQUESTS: Final = 20_000  # at least
SECONDS: Final = 10.0  # of a kind in a round, at the rate of the first client; cheap requests are sent more often
CLIENTS: Final = 2  # at once, after the first ones
REPEATS: Final = 3  # of a quarter of them
GROWTH: Final = 8.0  # MB; more in every repeat of 7,000 requests is a leak of at least a kilobyte per request
MEMORY: Final = 512.0  # MB for worker and supervisor; the limit that deploy/ sets
KEYS: Final = {"code", "message", "got", "expected"}


def check(request: Request, response: httpx2.Response, statuses: set[int]) -> None:
    """Raise AssertionError for a response that bad input should not get."""
    sent = f"{request.method} {request.path} {request.headers} {request.content[:80]!r}"
    context = f"{sent}: {response.status_code} {response.text[:300]}"
    assert response.status_code in statuses, context
    if response.status_code != 200 and request.method != "HEAD":
        problem = response.json()
        assert set(problem) <= KEYS, context
        assert STATUS[problem["code"]] == response.status_code, context


def attack(client: httpx2.Client, kind: Kind, examples: int, number: int = 1) -> Counter[int]:
    """Statuses of the responses to `examples` requests of a kind, the same requests each time for a `number`."""
    seen: Counter[int] = Counter()

    @seed(number)
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


def attack_kind(url: str, name: str, examples: int, number: int) -> int:
    """`attack` with a client of its own; the number of requests."""
    with httpx2.Client(base_url=url, timeout=60) as client:
        return attack(client, KINDS[name], examples, number).total()


def worker_of(port: str) -> psutil.Process:
    """BentoML's worker process on this port."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "_bentoml_impl.worker.service" in line:
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                if parent is not None and f"--port {port}" in " ".join(parent.cmdline()):
                    return process
    raise AssertionError(f"no worker serves port {port}")


def check_description(url: str, examples: int) -> None:
    """Run schemathesis: every request that the description allows gets a response that it describes."""
    tool = str(Path(sys.executable).parent / "schemathesis")
    command = [tool, "run", f"{url}/docs.json", "--url", url, "--seed", "1"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    subprocess.run([*command, "--max-examples", str(examples), "--checks", checks, "--workers", "1"], check=True)


def memory(process: psutil.Process) -> float:
    """MB of memory of the process (RSS)."""
    return float(process.memory_info().rss / 2**20)


def peak(process: psutil.Process) -> float:
    """The peak of its memory in MB if Linux reports it, else its present memory."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    return memory(process)


def reset_peak(process: psutil.Process) -> None:
    """Reset the peak, if Linux allows it."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def check_memory(after: Sequence[float], most: float) -> None:
    """Raise AssertionError for a leak or for too much memory.

    `after` are the MB after all requests and after each repeat, `most` is the peak.
    """
    growth = min(later - earlier for earlier, later in pairwise(after))
    assert growth < GROWTH, f"the worker grew by at least {growth:.0f} MB in each repeat: {[*map(round, after)]}"
    assert most < MEMORY, f"worker and supervisor had {most:.0f} MB at once, expected less than {MEMORY:.0f}"


def fuzz(url: str, requests: int = 0, examples: int = EXAMPLES, report: Callable[[str], None] = print) -> int:
    """Send all kinds to the service at `url`, with the repeats, and then rounds; return the number of requests."""
    worker = worker_of(url.rpartition(":")[2])
    supervisor = sum(map(memory, worker.parents()[:1]))
    total, after, most = 0, list[float](), 0.0
    in_a_round: dict[str, int] = {}
    with httpx2.Client(base_url=url, timeout=30) as client:
        for count in (examples, *[max(1, examples // 4)] * REPEATS):
            for name, kind in KINDS.items():
                started = time.perf_counter()
                reset_peak(worker)
                seen = attack(client, kind, count)
                total += seen.total()
                most = max(most, supervisor + peak(worker))
                statuses = ", ".join(f"{status}: {number}" for status, number in sorted(seen.items()))
                took, sizes = time.perf_counter() - started, f"{memory(worker):4.0f} MB, at most {peak(worker):4.0f}"
                if not after:
                    in_a_round[name] = min(10 * examples, 1 + int(SECONDS * seen.total() / took))
                    report(f"{name:35} {seen.total():5} requests  {took:5.1f} s  {sizes}  {statuses}")
            after.append(memory(worker))
            report(f"{len(after)}: {total} requests, worker {after[-1]:.0f} MB, at most {most:.0f} with its supervisor")
    with ProcessPoolExecutor(CLIENTS, get_context("spawn")) as clients:
        for number in count_from(2):
            if total >= requests:
                break
            started, before = time.perf_counter(), total
            reset_peak(worker)
            total += sum(clients.map(attack_kind, repeat(url), in_a_round, in_a_round.values(), repeat(number)))
            most = max(most, supervisor + peak(worker))
            after.append(memory(worker))
            rate = (total - before) / (time.perf_counter() - started)
            report(
                f"{len(after)}: {total} requests, {rate:.0f} a second, worker {after[-1]:.0f} MB, at most {most:.0f}"
            )
    assert worker.is_running(), "the worker died"
    check_memory(after, most)
    report(f"{total} requests of {len(KINDS)} kinds: no wrong status, no dead worker, no leak, at most {most:.0f} MB")
    return total


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    with tempfile.TemporaryDirectory() as folder, running(BENTO.read_text(), Path(folder) / "log") as url:
        total = fuzz(url, requests, report=lambda line: print(line, flush=True))
        assert total >= requests, f"only {total} requests"
        check_description(url, EXAMPLES // 8)


if __name__ == "__main__":
    main()
