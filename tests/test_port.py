"""A port that a server cannot listen on is reported in one sentence."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from serving import port


def test_a_free_port_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]

    assert port.problem_with(str(free)) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_named_with_the_remedy(address: str) -> None:
    with socket.create_server((address, 0)) as listener:
        used = listener.getsockname()[1]
        problem = port.problem_with(str(used))

    assert problem == (
        f"got port {used}, which is in use by another program on 127.0.0.1, expected a free one: "
        "choose another one with PORT=…"
    )


def test_a_port_of_a_server_that_has_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        used = listener.getsockname()
        with socket.create_connection(used), listener.accept()[0] as accepted:
            accepted.shutdown(socket.SHUT_WR)  # it ends first, so its side of the connection waits a minute

    assert port.problem_with(str(used[1])) is None


@pytest.mark.parametrize("value", ["abc", "", "0", "70000", "-1", "3000.5", "3 000", "٣٠٠٠", "9" * 5000])
def test_an_invalid_port_is_reported_with_the_valid_range(value: str) -> None:
    problem = port.problem_with(value)

    assert problem is not None
    assert problem.startswith(f"got port {value[:50]!r}, expected a whole number from 1 to 65535: ")
    assert "PORT=" in problem


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EACCES, "may be used by root only"), (errno.ENOSYS, "cannot be")]
)
def test_a_port_that_the_system_refuses_is_named(number: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)

    problem = port.problem_with("80")

    assert problem is not None
    assert f"got port 80, which {reason}" in problem


def test_the_command_prints_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "serving.port", str(listener.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: got port ")


@pytest.mark.parametrize(("target", "server"), [("serve", "pipeline.packaging.bento"), ("ui", "pipeline.tracking.ui")])
def test_make_checks_the_port_before_it_builds_or_starts_a_server(target: str, server: str) -> None:
    lines = subprocess.check_output(["make", "--dry-run", target, "PORT=3141"], text=True)

    assert lines.index('python -m serving.port "3141"') < lines.index(server)
