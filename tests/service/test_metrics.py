"""Metrics and health over HTTP: whoever connects and says nothing holds up nobody, and not the end."""

import socket
import time
from urllib.request import urlopen

import pytest

from autorep_fx.errors import PartyError
from autorep_fx.service import metrics as module
from autorep_fx.service.metrics import Metrics, serve_http


def test_idle_connections_hold_up_neither_health_nor_the_end():
    server = serve_http(("127.0.0.1", 0), Metrics("server"), lambda: True)
    idle = [socket.create_connection(server.server_address) for _ in range(module._MOST + 4)]
    for path in ("health", "metrics"):
        assert urlopen("http://{}:{}/{}".format(*server.server_address, path), timeout=5).status == 200
    idle[0].settimeout(5)
    assert idle[0].recv(1) == b"", "there were too many, and it came first"
    start = time.monotonic()
    server.shutdown()
    assert time.monotonic() - start < 2
    server.server_close()
    for each in idle:
        each.close()


def test_who_is_silent_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    server = serve_http(("127.0.0.1", 0), Metrics("server"), lambda: True)
    with socket.create_connection(server.server_address, timeout=5) as idle:
        idle.sendall(b"GET /health")
        assert idle.recv(1) == b""
    server.shutdown()
    server.server_close()


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PartyError, match=f"metrics: cannot listen on 127.0.0.1:{port}: another process has it"):
            serve_http(("127.0.0.1", port), Metrics("server"), lambda: True)
