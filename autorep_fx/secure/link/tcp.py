"""A link over a TCP socket."""

from __future__ import annotations

import select
import socket
import struct
import time

import numpy as np

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
        seconds = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)

    def _write(self, step: int, parts: list, size: int) -> None:
        deadline = time.monotonic() + self.timeout
        parts = [memoryview(p) for p in parts]
        while parts:
            try:
                parts = after(parts, self._socket.sendmsg(parts))
            except BlockingIOError:
                raise self._error(step, f"took nothing for {self.timeout:g} s") from None
            except OSError as error:
                raise self._error(step, f"hung up ({error.strerror or error})") from error
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
                raise self._error(step, f"hung up ({error.strerror or error})") from error
            if not got:
                raise self._error(step, "hung up")
            parts = after(parts, got)
            if parts and time.monotonic() > deadline:
                raise self._error(step, f"did not finish its message in {self.timeout:g} s")

    def exchange(self, step: int, out: np.ndarray, into: np.ndarray) -> None:
        if out.nbytes < 32768:  # fits into the socket's buffer, so sending never waits for the peer to read
            return super().exchange(step, out, into)
        sending, _ = self._frame(step, (out,))
        sending = [memoryview(p) for p in sending]
        header = bytearray(HEADER.size)
        reading, opened = [memoryview(header)], None
        deadline = time.monotonic() + self.timeout
        while sending or reading:
            left = deadline - time.monotonic()
            ready = select.select(
                [self._socket] if reading else [], [self._socket] if sending else [], [], max(left, 0)
            )
            if left <= 0 or not any(ready):
                raise self._error(step, f"did not exchange its message in {self.timeout:g} s")
            try:
                if ready[1]:
                    sending = after(sending, self._socket.sendmsg(sending, [], socket.MSG_DONTWAIT))
                if ready[0]:
                    got = self._socket.recv_into(reading[0], 0, socket.MSG_DONTWAIT)
                    if not got:
                        raise self._error(step, "hung up")
                    reading = after(reading, got)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._error(step, f"hung up ({error.strerror or error})") from error
            if not reading and opened is None:
                opened = self._open(step, header, (into,))
                reading = [raw(into)]
        self._arrive(*opened)

    def wait(self) -> None:
        select.select([self._socket], [], [])

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was quicker
        self._socket.close()
