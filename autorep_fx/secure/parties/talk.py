"""What one party of the online phase says to the other: the one way that its messages take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..link.channel import Channel
from ..plan.ring import elements

#: Sends this party's numbers and returns the other's, which are as many.
Exchange = Callable[[np.ndarray], np.ndarray]


class Talk:
    """Client to server, or server to client, in one inference."""

    def __init__(self, channel: Channel):
        self._channel = channel

    def send(self, step: int, *arrays: np.ndarray) -> None:
        """One message, of contiguous arrays."""
        self._channel.send(step, *arrays)

    def receive(self, step: int, *arrays: np.ndarray) -> None:
        """Fill contiguous arrays from the next message."""
        self._channel.receive(step, *arrays)

    def gone(self) -> bool:
        """As of the channel."""
        return self._channel.gone()

    def allow_a_message(self) -> None:
        """As of the channel."""
        self._channel.allow_a_message()

    def exchange(self, step: int, theirs_width: int | None = None) -> Exchange:
        """For what both say at once in the middle of a step; the other's numbers have so many bits, or as many."""

        def exchanged(mine: np.ndarray) -> np.ndarray:
            theirs = np.empty(mine.shape, mine.dtype if theirs_width is None else elements(theirs_width))
            self._channel.exchange(step, np.ascontiguousarray(mine), theirs)
            return theirs

        return exchanged
