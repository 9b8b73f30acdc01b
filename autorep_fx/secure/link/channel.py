"""How two parties talk: framed messages that are counted and checked.

A message is a header (step, depth, length, time) and the bytes of its arrays. The depth is a logical clock: one more
than the longest chain of messages that the sender had seen. The depth of the last message is therefore the number of
rounds, counted and not assumed: messages that go the same way in a row, or both ways at once, are one.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ...errors import PartyError, PeerLost, Refused
from .message import FAULT, HEADER, HELLO, HELLO_BODY, LETTER, LONGEST_LETTER, MAGIC, NAMES

#: Characters of why a peer will not, and seconds after which it may say that it will: so that asking again keeps nobody
#: busy, and is not for ever.
_LONGEST_WHY, _SHORTEST_PAUSE, _LONGEST_PAUSE = 2000, 0.05, 7 * 86400.0


class Clock:
    """Depth of the messages that a party has seen; one for all of its channels.

    Attributes:
        limit: no chain of messages of this protocol is longer.
    """

    def __init__(self, limit: float = float("inf")):
        self.depth, self.limit = 0, limit


class Channel(ABC):
    """One end of a link.

    Args:
        me, peer: names of the two parties, for errors.
        steps: names of the plan's steps, for errors.
        timeout: seconds to wait for a message.
        clock: the party's.

    Attributes:
        bytes_sent, messages_sent: since the last :meth:`reset`, headers included.
        stamping: headers carry the time of sending, which nobody but :class:`~.shaped.Shaped` looks at.
        arrived: size of the last message received, header included, and its stamp.
    """

    def __init__(
        self,
        me: str,
        peer: str,
        *,
        steps: tuple[str, ...] = (),
        timeout: float = 300.0,
        clock: Clock | None = None,
    ):
        self.me, self.peer, self.steps, self.timeout = me, peer, steps, timeout
        self.clock, self.stamping, self.arrived = clock or Clock(), False, (0, 0.0)
        self.bytes_sent = self.messages_sent = 0

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
        if magic != MAGIC:
            raise self._error(HELLO, "does not speak this protocol")
        if theirs != version:
            older = self.peer if theirs < version else self.me
            raise self._error(HELLO, f"speaks version {theirs}, this is version {version}; the {older} is out of date")
        if other != digest:
            raise self._error(HELLO, "has another program")

    def send(self, step: int, *arrays: np.ndarray) -> None:
        """Send contiguous arrays as one message."""
        self._write(step, self._frame(step, arrays))

    def receive(self, step: int, *arrays: np.ndarray) -> None:
        """Fill contiguous arrays from the next message.

        Raises:
            PartyError: nothing came in time, or the message is for another step, of another length, or says that it
                follows on more messages than there are.
            PeerLost: the peer is gone.
            Refused: it says that it will not, and when to ask again.
        """
        header = bytearray(HEADER.size)
        self._read(step, [memoryview(header)])
        depth = self._open(step, header, arrays)
        self._read(step, [raw(a) for a in arrays if a.nbytes])
        self.clock.depth = max(self.clock.depth, depth)

    def exchange(self, step: int, out: np.ndarray, into: np.ndarray) -> None:
        """Send ``out`` and receive ``into`` at the same time."""
        self.send(step, out)
        self.receive(step, into)

    def send_letter(self, **content: Any) -> None:
        """Send something that is no array: a JSON object."""
        self.send(LETTER, np.frombuffer(json.dumps(content).encode(), np.uint8))

    def receive_letter(self, **wanted: type) -> dict[str, Any]:
        """The next message, which is a letter that has these entries, of these types.

        Raises:
            PartyError: as of :meth:`receive`; or it is none, or too long, or lacks an entry.
        """
        header = bytearray(HEADER.size)
        self._read(LETTER, [memoryview(header)])
        _, depth, size, _ = HEADER.unpack(header)
        if size > LONGEST_LETTER:
            raise self._error(LETTER, f"sent a letter of {size} bytes, and {LONGEST_LETTER} are allowed")
        body = np.empty(size, np.uint8)
        self._open(LETTER, header, (body,))
        self._read(LETTER, [raw(body)] if size else [])
        self.clock.depth = max(self.clock.depth, depth)
        content = _object(body.tobytes())
        for name, kind in wanted.items():
            if type(content.get(name)) is not kind:
                raise self._error(LETTER, f"sent a letter without '{name}'")
        return content

    def send_fault(self, text: str, retry_after: float | None = None) -> None:
        """Tell the peer, whatever it waits for, why it will not come; and when to ask again, if it may."""
        content = {"fault": text[:_LONGEST_WHY], "retry": retry_after}
        self.send(FAULT, np.frombuffer(json.dumps(content).encode(), np.uint8))

    def gone(self, seconds: float = 0.0) -> bool:
        """Whether the peer is known to have hung up, or does within so many seconds; what it has sent before may wait
        unread."""
        return False

    def allow_a_message(self) -> None:  # noqa: B027  (most have no deadline)
        """Give the next message its whole time, also where the deadline of what it belongs to is near."""

    @abstractmethod
    def wait(self) -> bool | None:
        """Return when something came, or the peer is gone; without a limit, for a party with nothing to do."""

    @abstractmethod
    def close(self) -> None:
        """Hang up; the peer's waiting calls fail."""

    @abstractmethod
    def _write(self, step: int, parts: list) -> None: ...

    @abstractmethod
    def _read(self, step: int, parts: list[memoryview]) -> None: ...

    def _frame(self, step: int, arrays: tuple[np.ndarray, ...]) -> list:
        size = sum(a.nbytes for a in arrays)
        self.bytes_sent += size + HEADER.size
        self.messages_sent += 1
        header = HEADER.pack(step, self.clock.depth + 1, size, time.monotonic() if self.stamping else 0.0)
        return [header, *(raw(a) for a in arrays if a.nbytes)]

    def _open(self, step: int, header: bytearray, arrays: tuple[np.ndarray, ...]) -> int:
        """The depth that a header says, once everything in it was checked."""
        found, depth, size, stamp = HEADER.unpack(header)
        if found == FAULT and size <= LONGEST_LETTER:
            raise self._fault(step, size)
        if found != step:
            raise self._error(step, f"sent a message for {self._step(found)}")
        expected = sum(a.nbytes for a in arrays)
        if size != expected:
            raise self._error(step, f"sent {size} bytes where {expected} belong")
        if not 0 < depth <= self.clock.limit:
            raise self._error(step, f"sent a message of depth {depth}, and there are at most {self.clock.limit}")
        self.arrived = size + HEADER.size, stamp
        return depth

    def _fault(self, step: int, size: int) -> PartyError:
        """What the peer says in place of what belongs here."""
        body = bytearray(size)
        self._read(step, [memoryview(body)])
        content = _object(bytes(body))
        said, retry = str(content.get("fault", "failed"))[:_LONGEST_WHY], content.get("retry")
        text = "".join(c if c.isprintable() else " " for c in said)  # it ends in a log or on a terminal
        if isinstance(retry, int | float) and not isinstance(retry, bool) and 0 <= retry <= _LONGEST_PAUSE:
            return Refused(f"{self.me}: the {self.peer} refuses: {text}", max(float(retry), _SHORTEST_PAUSE))
        return self._error(step, f"failed: {text}")

    def _step(self, step: int) -> str:
        if step < len(self.steps):
            return f"step '{self.steps[step]}'"
        return NAMES.get(step, f"unknown step {step}")

    def _error(self, step: int, what: str, kind: type[PartyError] = PartyError) -> PartyError:
        return kind(f"{self.me}, at {self._step(step)}: the {self.peer} {what}")

    def _lost(self, step: int, error: OSError | None = None) -> PartyError:
        return self._error(step, "hung up" if error is None else f"hung up ({error.strerror or error})", PeerLost)


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if type(content) is dict else {}


def raw(array: np.ndarray) -> memoryview:
    if not array.flags.c_contiguous:
        raise ValueError("a message needs contiguous arrays")
    return array.data.cast("B")
