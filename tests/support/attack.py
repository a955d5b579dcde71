"""`make attack`: attacks on the live service by plain sockets and by hostile pictures.

`python -m tests.support.attack [SECONDS]` runs each for some seconds, 4 if not given, while an honest client sends
pictures, each on a connection of its own. It prints the peak of the memory of worker and supervisor, the share of the
honest requests that were answered, and the time until they were answered again after the attack.

It passes if no worker dies, memory stays below its limit, nothing is logged with a traceback, honest requests are
answered beside attacks by sockets, and after every attack.
"""

import contextlib
import http.client
import resource
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from serving.smoke_test import running
from tests.support.fuzz import BENTO, memory, peak, reset_peak, worker_of
from tests.support.hostile_pictures import HOSTILE
from tests.support.sample_requests import FIVE

SECONDS: Final = 4.0
MEMORY: Final = 400.0  # MB of worker and supervisor, whatever is sent
DESCRIPTORS: Final = 300  # file descriptors of the service in the last attacks
ASKED: Final = 20  # honest requests at least, beside attacks by sockets
RECOVERY: Final = 60.0  # seconds; a busy machine may need some
RECONNECTS: Final = 50  # a second, by attacks that keep connections open; more are a flood, which a proxy has to stop
TIMEOUT: Final = 10.0  # seconds that an honest client waits
ASSET: Final = "/static_content/swagger-ui-bundle.js"  # 1.4 MB

Address = tuple[str, int]


class Attacker:
    """What an attack uses: connections to the service, closed at its end, and whether to go on."""

    def __init__(self, address: Address, stack: contextlib.ExitStack) -> None:
        self.address, self.stack = address, stack
        self.stopped = threading.Event()

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        connection = self.stack.enter_context(socket.socket())
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(TIMEOUT)
        connection.connect(self.address)
        return connection

    def each(self, number: int, content: bytes, receive_buffer: int | None = None) -> None:
        """Keep `number` connections open, each of which has sent `content` and reads nothing.

        Those that the service closes are replaced, RECONNECTS a second.
        """
        opened: list[socket.socket] = []
        batch = number
        while not self.stopped.wait(0.02):
            opened = [connection for connection in opened if not closed(connection)]
            with contextlib.suppress(OSError):
                for _ in range(min(batch, number - len(opened))):
                    opened.append(self.connect(receive_buffer))
                    opened[-1].sendall(content)
            batch = int(RECONNECTS * 0.02)

    def endless(self, head: bytes, part: bytes) -> None:
        """Send `part` without end, on a new connection after each that is closed."""
        while not self.stopped.is_set():
            with contextlib.suppress(OSError), self.connect() as connection:
                connection.sendall(head)
                while not self.stopped.is_set():
                    connection.sendall(part)

    def pictures(self, *contents: bytes) -> None:
        """Send pictures from as many clients."""

        def send(content: bytes) -> None:
            while not self.stopped.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    post(self.address, content)

        with ThreadPoolExecutor(len(contents)) as pool:
            list(pool.map(send, contents))

    def leave(self) -> None:
        """Ask for a large file, read its start and reset the connection."""
        while not self.stopped.is_set():
            with contextlib.suppress(OSError), self.connect(4096) as connection:
                connection.sendall(GET % ASSET.encode())
                connection.recv(1000)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closed(connection: socket.socket) -> bool:
    """Whether the service has closed it; what it has sent stays unread."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def post(address: Address, content: bytes) -> int:
    """The status of the answer to a picture, sent on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=TIMEOUT)) as client:
        client.request("POST", "/predict", content, {"content-type": "application/octet-stream"})
        return client.getresponse().status


HOST: Final = b" HTTP/1.1\r\nHost: x\r\n"
GET: Final = b"GET %b" + HOST + b"\r\n"
CHUNKED: Final = b"POST /predict" + HOST + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW_BODY: Final = b"POST /predict" + HOST + b"Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nx"
READ_LATER: Final = b"GET " + ASSET.encode() + HOST + b"Content-Length: 1000000\r\n\r\n" + bytes(200_000)
LONG_HEAD: Final = b"GET /" + HOST + b"X-Long: " + b"a" * 65_000
BY_SOCKETS: Final[dict[str, Callable[[Attacker], None]]] = {
    "trailers without end": lambda a: a.endless(CHUNKED + b"1\r\nx\r\n0\r\n", b"X-More: 7\r\n" * 5_000),
    "a trailer without end": lambda a: a.endless(CHUNKED + b"1\r\nx\r\n0\r\nX-Long: ", b"a" * 65_000),
    "chunk extensions without end": lambda a: a.endless(CHUNKED + b"1;", b"name=value;" * 5_000),
    "chunks of one byte": lambda a: a.endless(CHUNKED, b"1\r\nx\r\n" * 5_000),
    "chunk sizes of many digits": lambda a: a.endless(CHUNKED, b"0" * 65_000),
    "32 slow readers": lambda a: a.each(32, GET % ASSET.encode(), 2048),
    "600 slow readers": lambda a: a.each(600, GET % ASSET.encode(), 2048),
    "600 slow readers with a body": lambda a: a.each(600, READ_LATER, 2048),
    "36 slow bodies": lambda a: a.each(36, SLOW_BODY),
    "600 slow bodies": lambda a: a.each(600, SLOW_BODY),
    "1,000 parked heads of 65 kB": lambda a: a.each(1_000, LONG_HEAD),
    "1,000 silent sockets": lambda a: a.each(1_000, b""),
    "100 pipelines of 3,000 requests": lambda a: a.each(100, GET % b"/livez" * 3_000),
    "clients that leave during a download": lambda a: a.leave(),
}
WITH_FEW_DESCRIPTORS: Final = ("32 slow readers", "600 slow bodies", "1,000 silent sockets")
TOGETHER: Final = ("large WebP", "large progressive JPEG", "large progressive JPEG")


class Outcome(NamedTuple):
    name: str
    peak: float
    """MB of worker and supervisor."""
    asked: int
    answered: int
    """Of the honest requests, those with status 200."""
    recovery: float
    """Seconds from the end of the attack until an honest request was answered."""

    def __str__(self) -> str:
        share = f"{self.answered / self.asked:4.0%} of {self.asked:3}" if self.asked else "none asked"
        return f"{self.name:40} {self.peak:4.0f} MB  {share} answered  {self.recovery:5.2f} s to recover"


def answers(address: Address) -> bool:
    try:
        return post(address, FIVE) == 200
    except (OSError, http.client.HTTPException):
        return False


def run(name: str, attack: Callable[[Attacker], None], url: str, seconds: float, asked_at_least: int = 0) -> Outcome:
    """Run an attack for some seconds, and some requests of an honest client beside it.

    Raises AssertionError if the service does not recover.
    """
    port = int(url.rpartition(":")[2])
    address, worker = ("127.0.0.1", port), worker_of(str(port))
    supervisor = sum(map(memory, worker.parents()[:1]))
    reset_peak(worker)
    asked = answered = 0
    with contextlib.ExitStack() as stack:
        attacker = Attacker(address, stack)
        thread = threading.Thread(target=attack, args=(attacker,))
        thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or asked < asked_at_least:
            time.sleep(0.05)
            asked, answered = asked + 1, answered + answers(address)
        attacker.stopped.set()
        thread.join()
    stopped = time.monotonic()
    while not answers(address):
        assert time.monotonic() < stopped + RECOVERY, f"{name}: the service does not recover"
    outcome = Outcome(name, supervisor + peak(worker), asked, answered, time.monotonic() - stopped)
    assert worker_of(str(port)).pid == worker.pid, f"{name}: the worker died"
    assert outcome.peak < MEMORY, f"{name}: {outcome.peak:.0f} MB, expected less than {MEMORY:.0f}"
    return outcome


@contextlib.contextmanager
def file_limit(descriptors: int | None) -> Iterator[None]:
    """Processes that are started within may open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors or soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))


def sending(*contents: bytes) -> Callable[[Attacker], None]:
    return lambda attacker: attacker.pictures(*contents)


def attack(bento: str, seconds: float = SECONDS, report: Callable[[str], None] = print) -> float:
    """Run all attacks on a Bento, each for some seconds; return the highest peak of memory in MB."""
    made = {name: make() for name, make in HOSTILE.items()}
    pictures = {name: sending(content, content) for name, content in made.items()}
    pictures["large WebP and progressive JPEGs at once"] = sending(*[made[name] for name in TOGETHER])
    few = {f"{name}, {DESCRIPTORS} descriptors": BY_SOCKETS[name] for name in WITH_FEW_DESCRIPTORS}
    most = 0.0
    for descriptors, attacks in ((None, BY_SOCKETS | pictures), (DESCRIPTORS, few)):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            log = Path(folder) / "log"
            with file_limit(descriptors):
                url = stack.enter_context(running(bento, log))
            for name, one in attacks.items():
                outcome = run(name, one, url, seconds, 0 if name in pictures else ASKED)
                report(str(outcome))
                most = max(most, outcome.peak)
                assert outcome.answered or name in pictures, f"{name}: no honest client got an answer"
            stack.close()
            assert "Traceback" not in log.read_text(), log.read_text()[-5_000:]
    report(f"{len(BY_SOCKETS) + len(pictures) + len(few)} attacks: no dead worker, at most {most:.0f} MB")
    return most


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    attack(BENTO.read_text(), seconds, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
