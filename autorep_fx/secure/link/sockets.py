"""What links over a socket have in common."""

from __future__ import annotations

import contextlib
import socket
import time
from abc import abstractmethod

import numpy as np

from ..owner import Owner
from .channel import Channel, raw
from .message import HEADER

#: Messages up to this size fit into a socket's buffer, so that sending them never waits for the peer to read.
SMALL = 32768


class SocketChannel(Channel):
    """A connected socket, of the process that made it. A fork does not touch it, not even to hang up: keys and counters
    of TLS would be used twice, and the other process would be cut off.
    """

    def __init__(self, connection: socket.socket, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._connection, self._owner = connection, Owner("a link between two parties")

    @property
    def _socket(self) -> socket.socket:
        """Whoever touches the socket does so by this.

        Raises:
            PartyError: this is another process.
        """
        self._owner.check()
        return self._connection

    @property
    def socket(self) -> socket.socket:
        return self._socket

    def exchange(self, step: int, out: np.ndarray, into: np.ndarray) -> None:
        if out.nbytes < SMALL:
            return super().exchange(step, out, into)
        left, header = [memoryview(part) for part in self._frame(step, (out,))], bytearray(HEADER.size)
        until = self._until()
        try:
            left = self._both(left, [memoryview(header)], until)
            depth = self._open(step, header, (into,))
            left = self._both(left, [raw(into)] if into.nbytes else [], until)  # nothing read is a peer that hung up
        except TimeoutError:
            raise self._error(step, f"did not exchange its message in {self.timeout:g} s") from None
        except EOFError:
            raise self._lost(step) from None
        except OSError as error:
            raise self._lost(step, error) from error
        self._write(step, left)
        self.clock.depth = max(self.clock.depth, depth)

    def close(self) -> None:
        if not self._owner.here:
            return
        with contextlib.suppress(OSError):  # the peer was quicker
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # SSLSocket's own takes TLS off first
        self._socket.close()

    def _until(self) -> float:
        """When a call gives up that begins now, of ``time.monotonic``."""
        return time.monotonic() + self.timeout

    @abstractmethod
    def _both(self, out: list[memoryview], into: list[memoryview], until: float) -> list[memoryview]:
        """Fill ``into`` and send ``out`` meanwhile; returns what is left to send."""
