"""Sender and receiver of oblivious transfers, whichever way they are extended.

    sender = Sender(channel, step)                 receiver = Receiver(channel, step)
    sender.setup()                                 receiver.setup()
    q = sender.extend(n)                           t, choices = receiver.extend(n)

Both sides say the same in the same order; what is sent is `kind.setup_said()` and `kind.extension_said(n, index)`, each
(by the sender, by the receiver). autorep_fx.kernels.ot says what the blocks are for.
"""

from __future__ import annotations

import numpy as np

from ....link.channel import Channel
from ..turns import Protocol, run
from .kind import Kind
from .softspoken import SoftSpoken

#: Safe whoever deviates, and nothing assumed but AES and hashes.
SOFTSPOKEN = SoftSpoken()


class Sender:
    """Has both strings of each transfer: blocks q and q ^ delta.

    Args:
        channel: to the receiver; the names of its ends are part of what is hashed.
        step: of the messages.
        kind: how transfers are extended; the same at both ends.
    """

    def __init__(self, channel: Channel, step: int, kind: Kind = SOFTSPOKEN):
        self.kind, self._half = kind, kind.sender(channel, step)
        self._channel, self._step = channel, step

    def __repr__(self) -> str:
        return f"<Sender: {self.index} transfers, {self.kind!r}>"

    @property
    def delta(self) -> np.ndarray:
        """(2,) words; secret."""
        return self._half.delta

    @property
    def index(self) -> int:
        """The number of the next transfer in this session and direction: `index` of the kernels."""
        return self._half.index

    @property
    def hash_key(self) -> bytes:
        """Of this session and direction, public: `key` of the kernels."""
        return self._half.hash_key

    def setup(self) -> None:
        """Once a session, at the same time as the receiver's.

        Raises:
            PartyError: the receiver sent what is not of the protocol.
        """
        self._half.setup()

    def extend(self, n: int) -> np.ndarray:
        """Blocks q (n, 2) of n more transfers, a multiple of 64. Waits for the receiver.

        Raises:
            PartyError: the receiver deviates; nothing more can be made in this session.
        """
        return run(self.extending(n), self._channel, self._step)

    def extending(self, n: int) -> Protocol[np.ndarray]:
        """:meth:`extend` as a protocol, for more of them side by side."""
        return self._half.extend(n)

    def rest(self) -> None:
        """Let go of the blocks that were made last."""
        self._half.rest()


class Receiver:
    """Has one string of each transfer: blocks `t = q ^ c * delta`. Arguments as of :class:`Sender`."""

    def __init__(self, channel: Channel, step: int, kind: Kind = SOFTSPOKEN):
        self.kind, self._half = kind, kind.receiver(channel, step)
        self._channel, self._step = channel, step

    def __repr__(self) -> str:
        return f"<Receiver: {self.index} transfers, {self.kind!r}>"

    @property
    def index(self) -> int:
        """As of :class:`Sender`."""
        return self._half.index

    @property
    def hash_key(self) -> bytes:
        """As of :class:`Sender`."""
        return self._half.hash_key

    def setup(self) -> None:
        """Once a session, at the same time as the sender's.

        Raises:
            PartyError: the sender sent what is not of the protocol.
        """
        self._half.setup()

    def extend(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks t (n, 2) of n more transfers, a multiple of 64, and their random choices as a plane."""
        return run(self.extending(n), self._channel, self._step)

    def extending(self, n: int) -> Protocol[tuple[np.ndarray, np.ndarray]]:
        """As of :class:`Sender`."""
        return self._half.extend(n)

    def rest(self) -> None:
        """As of :class:`Sender`."""
        self._half.rest()
