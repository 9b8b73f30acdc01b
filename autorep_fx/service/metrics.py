"""What is counted, for Prometheus, and whether the service is well, over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from .listening import naming

#: Connections at once, and seconds that each may be silent.
_MOST, _SILENT = 16, 5.0

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Of one service; no label says what was asked or by whom."""

    def __init__(self, party: str):
        self.registry = CollectorRegistry()
        named = {"namespace": "autorep_fx", "subsystem": party, "registry": self.registry}
        self._seconds = Histogram("inference_seconds", "of an inference", ["phase"], buckets=_SECONDS, **named)
        self._bytes = Counter("sent_bytes", "that this party sent", ["phase"], **named)
        self._failed = Counter("failures", "inferences that ended with an error", **named)
        self._checks = Counter("failed_checks", "clients whose messages have not passed a check", **named)
        self._refused = Counter("refusals", "sessions and inferences that were refused", **named)
        self._sessions = Gauge("sessions", "that are open", **named)
        self._waiting = Gauge("prepared", "inferences that wait for their input", **named)

    def inference(self, phase: str, seconds: float, sent: float) -> None:
        self._seconds.labels(phase).observe(seconds)
        self.sent(phase, sent)

    def sent(self, phase: str, sent: float) -> None:
        self._bytes.labels(phase).inc(sent)

    def failed(self) -> None:
        self._failed.inc()

    def check_failed(self) -> None:
        self._checks.inc()

    def refused(self) -> None:
        self._refused.inc()

    def waiting(self, change: int) -> None:
        self._waiting.inc(change)

    @contextmanager
    def session(self) -> Iterator[None]:
        with self._sessions.track_inprogress():
            yield


def serve_http(address: tuple[str, int], metrics: Metrics, healthy: Callable[[], bool]) -> WSGIServer:
    """Answer /metrics and /health (200 or 503) in threads, until the server is shut down.

    Raises:
        PartyError: it cannot listen there.
    """
    numbers = make_wsgi_app(metrics.registry)

    def app(environ, start):
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return numbers(environ, start)
        well = path == "/health" and healthy()
        status = "200 OK" if well else "503 Service Unavailable" if path == "/health" else "404 Not Found"
        start(status, [("Content-Type", "text/plain")])
        return [b"ok\n" if well else b"no\n"]

    with naming("metrics", address):
        server = make_server(*address, app, _Server, _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that nobody waits for one that says nothing. Where there are too many, the one
    that came first is hung up on."""

    daemon_threads = True  # the process does not wait for them

    def __init__(self, *arguments: Any):
        self._connections: list[socket.socket] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._connections) >= _MOST:
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                self._connections.pop(0).shutdown(socket.SHUT_RDWR)
        self._connections.append(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(ValueError):  # it was hung up on
            self._connections.remove(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Who left, or was silent too long, is no error of this service."""


class _Handler(WSGIRequestHandler):
    timeout = _SILENT

    def log_message(self, *_) -> None: ...
