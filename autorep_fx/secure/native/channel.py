"""How two parties talk: framed messages that are counted, checked and, if wanted, slowed down.

A message is a header (step, depth, length, time) and the bytes of its arrays. The depth is a logical clock: one more
than the longest chain of messages that the sender had seen. The depth of the last message is therefore the number of
rounds, counted and not assumed: messages that go the same way in a row, or both ways at once, are one.
"""

from __future__ import annotations

import queue
import select
import socket
import struct
import time
from abc import ABC, abstractmethod

import numpy as np

from ...errors import PartyError
from ..buffers import after
from ..network import Network
from .plan import VERSION

_HEADER = struct.Struct("<IIQd")
_HELLO = struct.Struct("<8sI4x16s")
_MAGIC = b"afx-2pc\0"

#: What a message adds to its arrays.
HEADER_BYTES = _HEADER.size

#: Steps of messages outside of the plan.
HELLO, SETUP, REQUEST, READY = 2**32 - 1, 2**32 - 2, 2**32 - 3, 2**32 - 4
_NAMES = {HELLO: "hello", SETUP: "setup", REQUEST: "request", READY: "ready"}


class Clock:
    """Depth of the messages that a party has seen; one for all of its channels."""

    def __init__(self):
        self.depth = 0


class Channel(ABC):
    """One end of a link.

    Args:
        me, peer: names of the two parties, for errors.
        steps: names of the plan's steps, for errors.
        timeout: seconds to wait for a message.
        clock: the party's.
        network: slow every received message down to this link; None does not.

    Attributes:
        bytes_sent, messages_sent: since the last :meth:`reset`, headers included.
    """

    def __init__(
        self,
        me: str,
        peer: str,
        *,
        steps: tuple[str, ...] = (),
        timeout: float = 300.0,
        clock: Clock | None = None,
        network: Network | None = None,
    ):
        self.me, self.peer, self.steps, self.timeout = me, peer, steps, timeout
        self.clock, self.network = clock or Clock(), network
        self.bytes_sent = self.messages_sent = 0
        self._link_free = 0.0

    def reset(self) -> None:
        """Start counting from zero."""
        self.bytes_sent = self.messages_sent = 0

    def greet(self, digest: bytes) -> None:
        """Say which version and plan this party has."""
        self.send(HELLO, np.frombuffer(_HELLO.pack(_MAGIC, VERSION, digest), np.uint8))

    def check_greeting(self, digest: bytes) -> None:
        """Read what the peer said.

        Raises:
            PartyError: the peer runs another version or another program.
        """
        theirs = np.empty(_HELLO.size, np.uint8)
        self.receive(HELLO, theirs)
        magic, version, other = _HELLO.unpack(theirs.tobytes())
        if magic != _MAGIC or version != VERSION:
            raise self._error(HELLO, f"speaks version {version}, this is version {VERSION}")
        if other != digest:
            raise self._error(HELLO, "has another program")

    def send(self, step: int, *arrays: np.ndarray) -> None:
        """Send contiguous arrays as one message."""
        parts, size = self._frame(step, arrays)
        self._write(step, parts, size)

    def receive(self, step: int, *arrays: np.ndarray) -> None:
        """Fill contiguous arrays from the next message.

        Raises:
            PartyError: nothing came in time, the peer is gone, or the message is for another step or of another length.
        """
        header = bytearray(_HEADER.size)
        self._read(step, [memoryview(header)])
        wanted = self._open(step, header, arrays)
        self._read(step, [_bytes(a) for a in arrays if a.nbytes])
        self._arrive(*wanted)

    def exchange(self, step: int, out: np.ndarray, into: np.ndarray) -> None:
        """Send ``out`` and receive ``into`` at the same time."""
        self.send(step, out)
        self.receive(step, into)

    @abstractmethod
    def wait(self) -> None:
        """Return when something came, or the peer is gone; without a limit, for a party with nothing to do."""

    @abstractmethod
    def close(self) -> None:
        """Hang up; the peer's waiting calls fail."""

    @abstractmethod
    def _write(self, step: int, parts: list, size: int) -> None: ...

    @abstractmethod
    def _read(self, step: int, parts: list[memoryview]) -> None: ...

    def _frame(self, step: int, arrays: tuple[np.ndarray, ...]) -> tuple[list, int]:
        size = sum(a.nbytes for a in arrays)
        self.bytes_sent += size + _HEADER.size
        self.messages_sent += 1
        header = _HEADER.pack(step, self.clock.depth + 1, size, time.monotonic())
        return [header, *(_bytes(a) for a in arrays if a.nbytes)], size + _HEADER.size

    def _open(self, step: int, header: bytearray, arrays: tuple[np.ndarray, ...]) -> tuple[int, float, int]:
        found, depth, size, sent = _HEADER.unpack(header)
        if found != step:
            raise self._error(step, f"sent a message for {self._step(found)}")
        expected = sum(a.nbytes for a in arrays)
        if size != expected:
            raise self._error(step, f"sent {size} bytes where {expected} belong")
        return depth, sent, size + _HEADER.size

    def _arrive(self, depth: int, sent: float, size: int) -> None:
        self.clock.depth = max(self.clock.depth, depth)
        if self.network is None:
            return
        # The link takes one message after the other; each then travels half a round trip.
        self._link_free = max(self._link_free, sent) + self.network.seconds(size)
        wait = self._link_free + self.network.delay - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def _step(self, step: int) -> str:
        if step < len(self.steps):
            return f"step '{self.steps[step]}'"
        return _NAMES.get(step, f"unknown step {step}")

    def _error(self, step: int, what: str) -> PartyError:
        return PartyError(f"{self.me}, at {self._step(step)}: the {self.peer} {what}")


def _bytes(array: np.ndarray) -> memoryview:
    if not array.flags.c_contiguous:
        raise ValueError("a message needs contiguous arrays")
    return memoryview(array).cast("B")


class LocalChannel(Channel):
    """Two threads of one process; messages are copied, as a network would."""

    def __init__(self, outbox: queue.Queue, inbox: queue.Queue, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._outbox, self._inbox, self._rest, self._closed = outbox, inbox, memoryview(b""), False

    def _write(self, step: int, parts: list, size: int) -> None:
        self._outbox.put(b"".join(parts))

    def _read(self, step: int, parts: list[memoryview]) -> None:
        for part in parts:
            if not len(self._rest):
                try:
                    data = self._inbox.get(timeout=self.timeout)
                except queue.Empty:
                    raise self._error(step, f"sent nothing for {self.timeout:g} s") from None
                if data is None:
                    self._inbox.put(None)
                    raise self._error(step, "hung up")
                self._rest = memoryview(data)
            part[:] = self._rest[: len(part)]
            self._rest = self._rest[len(part) :]

    def wait(self) -> None:
        if not len(self._rest):
            data = self._inbox.get()
            if data is None:
                self._inbox.put(None)
            else:
                self._rest = memoryview(data)

    def close(self) -> None:
        self._outbox.put(None)


def local_pair(one: str, other: str, **options) -> tuple[LocalChannel, LocalChannel]:
    """Both ends of an in-process link. ``options`` as for :class:`Channel`, less the clock."""
    there, back = queue.Queue(), queue.Queue()
    return LocalChannel(there, back, one, other, **options), LocalChannel(back, there, other, one, **options)


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
        header = bytearray(_HEADER.size)
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
                reading = [_bytes(into)]
        self._arrive(*opened)

    def wait(self) -> None:
        select.select([self._socket], [], [])

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was quicker
        self._socket.close()
