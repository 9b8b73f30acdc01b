"""A link over a TCP socket."""

from __future__ import annotations

import select
import socket
import struct
import time

import numpy as np

from . import buffers
from .buffers import after
from .channel import Channel, raw
from .message import HEADER


class TcpChannel(Channel):
    """A connected TCP socket."""

    def __init__(self, connection: socket.socket, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._socket = connection
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
        deadline = time.monotonic() + self.timeout
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
        deadline = time.monotonic() + self.timeout
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

    def exchange(self, step: int, out: np.ndarray, into: np.ndarray) -> None:
        if out.nbytes < 32768:  # fits into the socket's buffer, so sending never waits for the peer to read
            return super().exchange(step, out, into)
        left, header = [memoryview(part) for part in self._frame(step, (out,))], bytearray(HEADER.size)
        deadline = time.monotonic() + self.timeout
        try:
            left = buffers.exchange(self._socket, left, [memoryview(header)], deadline)
            depth = self._open(step, header, (into,))
            left = buffers.exchange(self._socket, left, [raw(into)], deadline)
        except TimeoutError:
            raise self._error(step, f"did not exchange its message in {self.timeout:g} s") from None
        except EOFError:
            raise self._lost(step) from None
        except OSError as error:
            raise self._lost(step, error) from error
        self._write(step, left)
        self.clock.depth = max(self.clock.depth, depth)

    def wait(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was quicker
        self._socket.close()
