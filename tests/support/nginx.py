"""A real nginx with `deploy/nginx.conf` or with that of `deploy/kubernetes/login/`, on loopback, for the tests. Only
the addresses and the file of passwords in it are replaced."""

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
    port = free_port()
    text = replaced((ROOT / "deploy/nginx.conf").read_text(), "listen 8080;", f"listen 127.0.0.1:{port};")
    text = replaced(text, "server 127.0.0.1:3000;", f"server {service.split('/')[2]};")
    with running_configuration(text, folder, f"http://127.0.0.1:{port}/{PREFIX}") as url:
        yield url


@contextmanager
def running_login(service: str, mlflow: str, passwords: Path, folder: Path) -> Iterator[str]:
    """nginx as in a cluster, with this file of passwords, in front of the service and MLflow at these URLs; yields the
    URL, which answers by the name of the host."""
    port = free_port()
    text = (ROOT / "deploy/kubernetes/login/nginx.conf").read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
    text = text.replace("/etc/nginx/login/htpasswd", str(passwords))
    text = replaced(replaced(text, "http://service:3000", service), "http://mlflow:5000", mlflow)
    with running_configuration(text, folder, f"http://127.0.0.1:{port}/healthz") as url:
        yield url.removesuffix("/healthz")


@contextmanager
def running_configuration(text: str, folder: Path, url: str) -> Iterator[str]:
    """nginx with a configuration that makes it answer this URL, which is yielded."""
    log = folder / "log"
    (folder / "digits.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN)
    with log.open("w") as output:
        command = [NGINX, "-e", "stderr", "-p", str(folder), "-c", "nginx.conf"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until_ready(url, process, log, path="")
        yield url
    finally:
        process.kill()
        process.wait()
