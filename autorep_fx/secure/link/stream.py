"""A link over a socket of Python's own, plain or TLS: between machines, with a deadline that others set."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time

from ...errors import PartyError, PeerLost
from .buffers import after
from .message import HEADER_BYTES
from .sockets import SMALL, SocketChannel
from .tls import runs_out

#: Bytes of data that go with a header: together they fill a record of TLS.
_RECORD = 2**14 - HEADER_BYTES

#: Seconds of silence after which the system asks whether the peer is there, and between two such questions; and how
#: many may stay without an answer.
_IDLE, _BETWEEN, _QUESTIONS = 30, 10, 3

#: What the system says of a peer that has hung up; always, or (Linux) if it is asked.
_HUNG_UP = select.POLLHUP | getattr(select, "POLLRDHUP", 0)

#: What OpenSSL calls it when the peer does not believe a certificate.
_ALERT = re.compile("_ALERT_(.*CERTIFICATE|UNKNOWN_CA)")


class StreamChannel(SocketChannel):
    """A connected socket, plain or of :mod:`ssl`.

    Attributes:
        deadline: of ``time.monotonic``; no call waits beyond it, nor longer than the timeout.
        expires: when the peer's certificate runs out, of ``time.time``. Every call after that fails, as if the peer
            were gone.
    """

    def __init__(self, connection: socket.socket, *args, **kwargs):
        super().__init__(connection, *args, **kwargs)
        self.deadline = self.expires = float("inf")
        if isinstance(connection, ssl.SSLSocket):
            self.expires = runs_out(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", _IDLE), ("TCP_KEEPINTVL", _BETWEEN), ("TCP_KEEPCNT", _QUESTIONS)):
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether something came, or the peer is gone, within so many seconds.

        Raises:
            PeerLost: its certificate has run out.
        """
        self._check_date()
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if seconds is None else 1000 * seconds))

    def allow_a_message(self) -> None:
        self.deadline = max(self.deadline, time.monotonic() + self.timeout)

    def gone(self, seconds: float = 0.0) -> bool:
        if self._expired():
            return True
        poll = select.poll()
        try:
            poll.register(self._socket, _HUNG_UP)
        except ValueError:  # it is closed
            return True
        return bool(poll.poll(1000 * seconds))

    def _until(self) -> float:
        self._check_date()
        return min(super()._until(), self.deadline)

    def _expired(self) -> bool:
        return time.time() >= self.expires

    def _check_date(self) -> None:
        if self._expired():
            raise PeerLost(f"{self.me}: the certificate of the {self.peer} has run out")

    def _lost(self, step: int, error: OSError | None = None) -> PartyError:
        lost = super()._lost(step, error)
        # Who says that it does not believe a certificate is not gone, and will not believe it the next time.
        if not (isinstance(error, ssl.SSLError) and _ALERT.search(error.reason or "")):
            return lost
        return PartyError(
            f"{lost}: it does not accept the certificate of the {self.me}; take one that is valid now, from an "
            "authority that it knows"
        )

    def _write(self, step: int, parts: list) -> None:
        connection, until = self._socket, self._until()
        parts = [memoryview(part) for part in parts]
        if sum(map(len, parts)) <= SMALL:
            parts = [b"".join(parts)]
        elif len(parts) > 1:  # a header goes with what follows it: a record, a call and a wake-up of the peer less
            parts = [b"".join((parts[0], parts[1][:_RECORD])), parts[1][_RECORD:], *parts[2:]]
        try:
            for part in filter(len, parts):
                connection.settimeout(_left(until))
                connection.sendall(part)
        except TimeoutError:
            raise self._error(step, f"took too little for {self.timeout:g} s") from None
        except OSError as error:
            raise self._lost(step, error) from error

    def _read(self, step: int, parts: list[memoryview]) -> None:
        connection, until = self._socket, self._until()
        while parts:
            try:
                connection.settimeout(_left(until))
                got = connection.recv_into(parts[0])
            except TimeoutError:
                raise self._error(step, f"sent nothing, or too little, for {self.timeout:g} s") from None
            except OSError as error:
                raise self._lost(step, error) from error
            if not got:
                raise self._lost(step)
            parts = after(parts, got)

    def _both(self, out: list[memoryview], into: list[memoryview], until: float) -> list[memoryview]:
        connection = self._socket
        connection.setblocking(False)
        poll = select.poll()
        while into:
            wanted = moved = 0
            if out:
                try:
                    out, moved = after(out, connection.send(out[0])), 1
                except ssl.SSLWantReadError:
                    wanted |= select.POLLIN
                except (BlockingIOError, ssl.SSLWantWriteError):
                    wanted |= select.POLLOUT
            try:
                got = connection.recv_into(into[0])
                if not got:
                    raise EOFError
                into, moved = after(into, got), 1
            except ssl.SSLWantWriteError:
                wanted |= select.POLLOUT
            except (BlockingIOError, ssl.SSLWantReadError):
                wanted |= select.POLLIN
            if not moved:
                poll.register(connection, wanted)
                if not poll.poll(1000 * _left(until)):
                    raise TimeoutError
        return out


def _left(until: float) -> float:
    """Seconds until then.

    Raises:
        TimeoutError: none.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
