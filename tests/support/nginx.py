"""A real nginx with `deploy/nginx.conf`, on loopback, for the tests. Only the two addresses in it are replaced."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from serving.smoke_test import free_port, wait_until_ready
from tests.support.project_clone import ROOT

PREFIX: Final = "digits/"
NGINX: Final = shutil.which("nginx") or "/usr/sbin/nginx"  # which not every user has in PATH
MAIN: Final = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include digits.conf;
}
"""


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


@contextmanager
def running_nginx(service: str, folder: Path) -> Iterator[str]:
    """nginx in front of the service at the URL `service`; yields the URL with its prefix, which ends in a slash."""
    port, log = free_port(), folder / "log"
    text = replaced((ROOT / "deploy/nginx.conf").read_text(), "listen 8080;", f"listen 127.0.0.1:{port};")
    (folder / "digits.conf").write_text(replaced(text, "server 127.0.0.1:3000;", f"server {service.split('/')[2]};"))
    (folder / "nginx.conf").write_text(MAIN)
    with log.open("w") as output:
        command = [NGINX, "-e", "stderr", "-p", str(folder), "-c", "nginx.conf"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}/{PREFIX}"
        wait_until_ready(url, process, log, path="")
        yield url
    finally:
        process.kill()
        process.wait()
