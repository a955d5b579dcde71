"""A PostgreSQL server of its own, on loopback. Needs Debian's package `postgresql`."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.smoke_test import free_port
from tests.support.certificates import write_certificates

UNPRIVILEGED: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []}  # PostgreSQL refuses root
SERVER_USER = UNPRIVILEGED if os.geteuid() == 0 else {}


def binaries() -> Path:
    """The folder of `initdb` and `postgres`, the newest where there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        raise RuntimeError("no /usr/lib/postgresql/*/bin/initdb: expected PostgreSQL; `apt-get install -y postgresql`")
    return found[-1].parent


def wait_for(process: "subprocess.Popen[bytes]", command: list[str], log: Path) -> None:
    """Wait until `command` succeeds, which checks that the process is ready."""
    deadline = time.monotonic() + 180
    while subprocess.run(command, capture_output=True).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@contextlib.contextmanager
def stopping(process: "subprocess.Popen[bytes]", by: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(by)
        process.wait(60)


@contextlib.contextmanager
def running_postgres(log: Path) -> Iterator[str]:
    """The URI of an empty database `mlflow`, with a password and a certificate that is verified, as deploy/README.md
    says for a cluster."""
    programs, port, password = binaries(), free_port(), secrets.token_hex(24)
    authority = log.with_name("postgres.crt")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are not readable for `nobody`
        folder = Path(name)
        (folder / "password").write_text(password)
        write_certificates(folder, "127.0.0.1")
        shutil.copy(folder / "ca.crt", authority)
        if SERVER_USER:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, SERVER_USER["user"], SERVER_USER["group"])
        initdb = [f"{programs}/initdb", f"--pgdata={folder}/data", "--username=mlflow", f"--pwfile={folder}/password"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **SERVER_USER)
        command = [f"{programs}/postgres", "-D", f"{folder}/data", "-p", str(port), "-k", name]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "ssl=on"]
        command += ["-c", f"ssl_cert_file={folder}/server.crt", "-c", f"ssl_key_file={folder}/server.key"]
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, **SERVER_USER)
        with stopping(process, signal.SIGINT):  # on SIGTERM it waits for its clients
            address = ["--host=127.0.0.1", f"--port={port}", "--username=mlflow"]
            wait_for(process, [f"{programs}/pg_isready", *address], log)
            environment = os.environ | {"PGPASSWORD": password}
            subprocess.run([f"{programs}/createdb", *address, "mlflow"], check=True, env=environment)
            verified = f"sslmode=verify-full&sslrootcert={authority}"
            yield f"postgresql+psycopg2://mlflow:{password}@127.0.0.1:{port}/mlflow?{verified}"
