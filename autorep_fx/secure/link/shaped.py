"""A link that is made as slow as a network, to measure what a run would take there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .channel import Channel
from .network import Network


class Shaped:
    """A channel whose messages arrive no earlier than over ``network``. Both ends are wrapped, on one machine.

    The link takes one message after the other; each then travels half a round trip. A message is stamped with the time
    of sending, so that it travels while its receiver computes. What the stamp says can only let it come earlier: a
    message waits at most ``network.delay + network.seconds(size)`` from when it is read.
    """

    def __init__(self, channel: Channel, network: Network):
        self._channel, self._network, self._free = channel, network, 0.0
        channel.stamping = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def receive(self, step: int, *arrays: np.ndarray) -> None:
        self._channel.receive(step, *arrays)
        self._travel()

    def exchange(self, step: int, out: np.ndarray, into: np.ndarray) -> None:
        self._channel.exchange(step, out, into)
        self._travel()

    def _travel(self) -> None:
        size, stamp = self._channel.arrived
        now = time.monotonic()
        sent = stamp if stamp <= now else now  # no number at all is now, too
        self._free = max(self._free, sent) + self._network.seconds(size)
        wait = self._free + self._network.delay - now
        if wait > 0:
            time.sleep(wait)
