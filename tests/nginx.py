"""nginx with its default limits in front of servers of this machine, over TLS"""
import os, shutil, subprocess
from contextlib import contextmanager

import pytest
from backend import free_port
from waiting import until

CONFIG = """
daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl; server_name localhost;
        ssl_certificate {cert}; ssl_certificate_key {key};
        proxy_http_version 1.1; proxy_request_buffering off;
        {locations}
    }}
}}
"""
LOCATION = """
        location {path}/ {{
            proxy_pass http://127.0.0.1:{port}{target};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Prefix {path};
        }}
"""


def location(
    path,  # such as /ecg
    port,  # of the server behind it
    target="/",  # / removes the path from requests, "" leaves it there
): return LOCATION.format(path=path, port=port, target=target)


@contextmanager
def nginx(folder, cert, key, locations, port=None):
    "Runs nginx; yields its port. A machine without it skips the test"
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None: pytest.skip("no nginx on this machine: apt-get install nginx-light brings it")
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    user = "user root;" if os.geteuid() == 0 else "" # its workers must read the tests' folders
    text = CONFIG.format(
        folder=folder, port=port, cert=cert, key=key, locations="".join(locations), user=user
    )
    (folder / "nginx.conf").write_text(text)
    (folder / "error.log").touch()
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command)
    try:
        until(lambda: (folder / "pid").exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(30)
