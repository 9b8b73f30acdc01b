"""A link over a TCP socket."""

from __future__ import annotations

import select
import socket
import struct
import time

from .buffers import after, exchange
from .sockets import SocketChannel


class TcpChannel(SocketChannel):
    """A connected TCP socket."""

    def __init__(self, connection: socket.socket, *args, **kwargs):
        super().__init__(connection, *args, **kwargs)
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.set_timeout(self.timeout)

    def set_timeout(self, timeout: float) -> None:
        """Wait so long for a message from now on."""
        self.timeout = timeout
        # In the kernel, so that one call waits for a whole message.
        seconds = struct.pack("ll", *divmod(max(int(timeout * 1e6), 1), 1_000_000))  # zero would be for ever
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)

    def _write(self, step: int, parts: list) -> None:
        deadline = self._until()
        parts = [memoryview(p) for p in parts]
        while parts:
            try:
                parts = after(parts, self._socket.sendmsg(parts))
            except BlockingIOError:
                raise self._error(step, f"took nothing for {self.timeout:g} s") from None
            except OSError as error:
                raise self._lost(step, error) from error
            if parts and time.monotonic() > deadline:
                raise self._error(step, f"was too slow for {self.timeout:g} s")

    def _read(self, step: int, parts: list[memoryview]) -> None:
        deadline = self._until()
        while parts:
            try:
                got = self._socket.recv_into(parts[0], 0, socket.MSG_WAITALL)
            except BlockingIOError:
                raise self._error(step, f"sent nothing for {self.timeout:g} s") from None
            except OSError as error:
                raise self._lost(step, error) from error
            if not got:
                raise self._lost(step)
            parts = after(parts, got)
            if parts and time.monotonic() > deadline:
                raise self._error(step, f"did not finish its message in {self.timeout:g} s")

    def _both(self, out: list[memoryview], into: list[memoryview], until: float) -> list[memoryview]:
        return exchange(self._socket, out, into, until)

    def wait(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll()
