"""What a protocol wants of transfers, and what is kept of them once they are made.

Most transfers serve for an AND or two: of each string a bit or two, whatever is chosen and sent. These bits are hashed
when the transfers are made, and the blocks, 16 bytes each at either end, are let go; a choice that is made later
exchanges bits. Blocks are kept where there are strings that depend on what is made in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ....text import brief
from ...plan.ring import U64
from .transfers import WORD, Pair, Received, Sent

#: The use of bits that are hashed when transfers are made.
BITS = 0

_BLOCK = 16


class Need(NamedTuple):
    """Transfers that are used alike, as many in either direction.

    Attributes:
        n: a multiple of 64.
        bits: of each string, under the use :data:`BITS`.
        server, client: whether there are other strings of those that the server, or the client, sends.
    """

    n: int
    bits: int = 0
    server: bool = False
    client: bool = False

    def __repr__(self) -> str:
        return brief(self)

    @property
    def kept_bytes(self) -> int:
        """At a party: blocks, the bits of two strings and of one, and choices."""
        return self.n * _BLOCK * (self.server + self.client) + self.n * (3 * self.bits + 1) // 8


class _Kept:
    """One need's transfers, as they come.

    Args:
        first: some of them, for keys and numbers.
    """

    def __init__(self, need: Need, party: int, first: Pair):
        self.need, self.done, (sent, received) = need, 0, first
        words = need.n // WORD

        def blocks(wanted: bool) -> np.ndarray | None:
            return np.empty((need.n, 2), U64) if wanted else None

        def planes(*shape: int) -> np.ndarray | None:
            return np.empty((*shape, need.bits, words), U64) if need.bits else None

        ours, theirs = (need.server, need.client) if party == 0 else (need.client, need.server)
        self.pair = Pair(
            Sent(blocks(ours), sent.delta, sent.key, sent.index, planes=planes(2)),
            Received(blocks(theirs), np.empty(words, U64), received.key, received.index, planes=planes()),
        )

    def put(self, made: Pair) -> None:
        part = slice(self.done, self.done + made.n)
        words = slice(part.start // WORD, part.stop // WORD)
        (sent, received), bits = self.pair, self.need.bits
        received.choices[words] = made.received.choices
        for kept, new in ((sent, made.sent), (received, made.received)):
            if kept.blocks is not None:
                kept.blocks[part] = new.blocks
        if sent.planes is not None and received.planes is not None:
            sent.planes[0, :, words], sent.planes[1, :, words] = made.sent.bits(BITS, bits)
            received.planes[:, words] = made.received.bits(BITS, bits)
        self.done = part.stop


class Transfers:
    """What a protocol has of transfers in both directions, handed out in the order of its needs.

    Args:
        needs: the same at both parties.
        party: 0 is the server.
    """

    def __init__(self, needs: Iterable[Need], party: int):
        self._needs, self._party = deque(needs), party
        self._kept: deque[_Kept] = deque()

    def fill(self, made: Pair) -> None:
        """Keep of the next transfers what is wanted of them; their blocks may be gone afterwards."""
        at = 0
        while at < made.n:
            if not self._kept or self._kept[-1].done == self._kept[-1].need.n:
                self._kept.append(_Kept(self._needs.popleft(), self._party, made.part(at, made.n)))
            kept = self._kept[-1]
            stop = min(at + kept.need.n - kept.done, made.n)
            kept.put(made.part(at, stop))
            at = stop

    def take(self) -> Pair:
        """Those of the next need, all of which were made."""
        return self._kept.popleft().pair

    def part(self, count: int) -> Transfers:
        """Those of the next needs, so many of them, for another protocol."""
        own = Transfers((), self._party)
        own._kept.extend(self._kept.popleft() for _ in range(count))
        return own

    @property
    def left(self) -> int:
        """Needs whose transfers nobody took."""
        return len(self._needs) + len(self._kept)
