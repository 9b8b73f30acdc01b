"""What is counted, for Prometheus, and whether the service is well, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Of one service; no label says what was asked or by whom."""

    def __init__(self, party: str):
        self.registry = CollectorRegistry()
        named = {"namespace": "autorep_fx", "subsystem": party, "registry": self.registry}
        self._seconds = Histogram("inference_seconds", "of an inference", ["phase"], buckets=_SECONDS, **named)
        self._bytes = Counter("sent_bytes", "that this party sent", ["phase"], **named)
        self._failed = Counter("failures", "inferences that ended with an error", **named)
        self._refused = Counter("refusals", "sessions and inferences that were refused", **named)
        self._sessions = Gauge("sessions", "that are open", **named)
        self._waiting = Gauge("prepared", "inferences that wait for their input", **named)

    def inference(self, phase: str, seconds: float, sent: int) -> None:
        self._seconds.labels(phase).observe(seconds)
        self._bytes.labels(phase).inc(sent)

    def failed(self) -> None:
        self._failed.inc()

    def refused(self) -> None:
        self._refused.inc()

    def waiting(self, change: int) -> None:
        self._waiting.inc(change)

    @contextmanager
    def session(self) -> Iterator[None]:
        with self._sessions.track_inprogress():
            yield


def serve_http(address: tuple[str, int], metrics: Metrics, healthy: Callable[[], bool]) -> WSGIServer:
    """Answer /metrics and /health (200 or 503) in a thread, until the server is shut down."""
    numbers = make_wsgi_app(metrics.registry)

    def app(environ, start):
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return numbers(environ, start)
        well = path == "/health" and healthy()
        status = "200 OK" if well else "503 Service Unavailable" if path == "/health" else "404 Not Found"
        start(status, [("Content-Type", "text/plain")])
        return [b"ok\n" if well else b"no\n"]

    server = make_server(*address, app, handler_class=_Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Silent(WSGIRequestHandler):
    def log_message(self, *_) -> None: ...
