"""How two parties talk: framed messages that are counted, checked and, if wanted, slowed down.

A message is a header (step, depth, length, time) and the bytes of its arrays. The depth is a logical clock: one more
than the longest chain of messages that the sender had seen. The depth of the last message is therefore the number of
rounds, counted and not assumed: messages that go the same way in a row, or both ways at once, are one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np

from ...errors import PartyError
from ..network import Network
from .message import HEADER, HELLO, HELLO_BODY, MAGIC, NAMES


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

    def greet(self, version: int, digest: bytes) -> None:
        """Say which version and plan this party has."""
        self.send(HELLO, np.frombuffer(HELLO_BODY.pack(MAGIC, version, digest), np.uint8))

    def check_greeting(self, version: int, digest: bytes) -> None:
        """Read what the peer said.

        Raises:
            PartyError: the peer runs another version or another program.
        """
        greeting = np.empty(HELLO_BODY.size, np.uint8)
        self.receive(HELLO, greeting)
        magic, theirs, other = HELLO_BODY.unpack(greeting.tobytes())
        if magic != MAGIC or theirs != version:
            raise self._error(HELLO, f"speaks version {theirs}, this is version {version}")
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
        header = bytearray(HEADER.size)
        self._read(step, [memoryview(header)])
        wanted = self._open(step, header, arrays)
        self._read(step, [raw(a) for a in arrays if a.nbytes])
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
        self.bytes_sent += size + HEADER.size
        self.messages_sent += 1
        header = HEADER.pack(step, self.clock.depth + 1, size, time.monotonic())
        return [header, *(raw(a) for a in arrays if a.nbytes)], size + HEADER.size

    def _open(self, step: int, header: bytearray, arrays: tuple[np.ndarray, ...]) -> tuple[int, float, int]:
        found, depth, size, sent = HEADER.unpack(header)
        if found != step:
            raise self._error(step, f"sent a message for {self._step(found)}")
        expected = sum(a.nbytes for a in arrays)
        if size != expected:
            raise self._error(step, f"sent {size} bytes where {expected} belong")
        return depth, sent, size + HEADER.size

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
        return NAMES.get(step, f"unknown step {step}")

    def _error(self, step: int, what: str) -> PartyError:
        return PartyError(f"{self.me}, at {self._step(step)}: the {self.peer} {what}")


def raw(array: np.ndarray) -> memoryview:
    if not array.flags.c_contiguous:
        raise ValueError("a message needs contiguous arrays")
    return memoryview(array).cast("B")
