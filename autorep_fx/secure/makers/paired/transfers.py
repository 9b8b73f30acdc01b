"""Random oblivious transfers of one party, in both directions, and what protocols make of them.

In a transfer the sender has two strings and the receiver a bit and the string of that bit. Each is kept as the block
of a correlation, ``q`` and ``q xor delta`` at the sender, ``t = q xor c delta`` at the receiver; strings are hashes of
it, one for each *use* (the hash's domain), so that one transfer serves several strings and never the same one twice.
Source: Ishai, Kilian, Nissim, Petrank (CRYPTO 2003); additive strings are the correlated OT of Asharov, Lindell,
Schneider, Zohner (CCS 2013). Kernels: autorep_fx.kernels.ot.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....text import brief
from ...plan.ring import U64, kernel

#: Bits of a word.
WORD = 64


class Sent:
    """n transfers (a multiple of 64) of which this party has both strings.

    Args:
        blocks: (n, 2) words, q; None where no string is asked for.
        delta: (2,) words.
        key: of the hash, of the session in this direction.
        index: the running number of the first one, of all of a session in this direction.
        space: beside a use it makes the hash's domain: 0, or a number of their own where transfers are numbered anew.
        planes: bits of each string that are there already, (2, count, n / 64); those of use 0.
    """

    def __init__(self, blocks: np.ndarray | None, delta: np.ndarray, key: bytes, index: int, space: int = 0,
                 planes: np.ndarray | None = None):  # fmt: skip
        self.blocks, self.delta, self.key, self.index, self.space = blocks, delta, key, index, space
        self.planes = planes

    def __len__(self) -> int:
        return 0 if self.blocks is None else len(self.blocks)

    def __getitem__(self, part: slice) -> Sent:
        """Without the bits that are there."""
        blocks = None if self.blocks is None else self.blocks[part]
        return Sent(blocks, self.delta, self.key, self.index + part.start, self.space)

    def flip(self, plane: np.ndarray) -> None:
        """Exchange both strings where the plane has 1."""
        if self.blocks is not None:
            kernel().ot_flip_(self.blocks, self.delta, plane)
        if self.planes is not None:
            self.planes ^= (self.planes[0] ^ self.planes[1]) & plane

    def bits(self, use: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """So many bits of each string, as planes (count, n / 64)."""
        k, options = kernel(), {"key": self.key, "index": self.index, "domain": domain(self.space, use), "bits": count}
        return k.ot_bits(self.blocks, **options), k.ot_bits(self.blocks, delta=self.delta, **options)

    def strings(self, values: np.ndarray, bits: int, use: int) -> tuple[np.ndarray, np.ndarray]:
        """This party's share of ``c v`` modulo 2**bits (n,), and the message with which the receiver has the other."""
        return kernel().ot_send(
            self.blocks, self.delta, values, bits=bits, key=self.key, index=self.index, domain=domain(self.space, use)
        )


class Received:
    """n transfers of which this party has one string each.

    Args:
        blocks: (n, 2) words, t; None where no string is asked for.
        choices: a plane: which string.
        key, index, space: as of :class:`Sent`.
        planes: bits of the string that are there already, (count, n / 64); those of use 0.
    """

    def __init__(self, blocks: np.ndarray | None, choices: np.ndarray, key: bytes, index: int, space: int = 0,
                 planes: np.ndarray | None = None):  # fmt: skip
        self.blocks, self.choices, self.key, self.index, self.space = blocks, choices, key, index, space
        self.planes = planes

    def __len__(self) -> int:
        return WORD * len(self.choices)

    def __getitem__(self, part: slice) -> Received:
        """Without the bits that are there."""
        words = slice(part.start // WORD, part.stop // WORD)
        blocks = None if self.blocks is None else self.blocks[part]
        return Received(blocks, self.choices[words], self.key, self.index + part.start, self.space)

    def choose(self, plane: np.ndarray) -> np.ndarray:
        """Make these the choices: what the sender must flip."""
        flips = self.choices ^ plane
        self.choices[:] = plane
        return flips

    def bits(self, use: int, count: int = 1) -> np.ndarray:
        """So many bits of the string, as planes (count, n / 64)."""
        options = {"key": self.key, "index": self.index, "domain": domain(self.space, use), "bits": count}
        return kernel().ot_bits(self.blocks, **options)

    def strings(self, message: np.ndarray, bits: int, use: int) -> np.ndarray:
        """This party's share of ``c v`` modulo 2**bits (n,)."""
        options = {"key": self.key, "index": self.index, "domain": domain(self.space, use)}
        return kernel().ot_receive(self.blocks, self.choices, message, bits=bits, **options)


class Pair(NamedTuple):
    """As many transfers each way."""

    sent: Sent
    received: Received

    def __repr__(self) -> str:
        return brief(self)

    @property
    def n(self) -> int:
        return len(self.received)

    def part(self, start: int, stop: int) -> Pair:
        part = slice(start, stop)
        return Pair(self.sent[part], self.received[part])

    def rows(self, n: int) -> list[Pair]:
        """Parts of n each, in order."""
        return [self.part(at, at + n) for at in range(0, self.n, n)]

    def at(self, positions: np.ndarray, n: int) -> Pair:
        """Of every n, those at the positions, a multiple of 64, as often as they are there; once for each pair.

        They are numbered anew, from 0 in a space that the first one's number names: no (number, domain) is ever that of
        another transfer, for whoever chooses the trees of an extension can make two of their blocks equal.
        """
        rows = self.n // n

        def found(blocks: np.ndarray | None) -> np.ndarray | None:
            if blocks is None:
                return None
            return np.ascontiguousarray(blocks.reshape(rows, n, 2)[:, positions]).reshape(-1, 2)

        chosen = kernel().unpack_bits(self.received.choices[None], self.n).reshape(rows, n)[:, positions]
        choices = plane_of(np.ascontiguousarray(chosen).reshape(-1))
        return Pair(
            Sent(found(self.sent.blocks), self.sent.delta, self.sent.key, 0, self.sent.index + 1),
            Received(found(self.received.blocks), choices, self.received.key, 0, self.received.index + 1),
        )


def domain(space: int, use: int) -> int:
    """Of the hash, for a use (0 to 255) of transfers in a space (below 2**56)."""
    return space << 8 | use


def padded(n: int) -> int:
    """Elements of a vector whose planes are whole words."""
    return -(-n // WORD) * WORD


def plane_of(bits: np.ndarray) -> np.ndarray:
    """A plane of (n,) numbers 0 and 1, n a multiple of 64."""
    return kernel().pack_bits(np.ascontiguousarray(bits, U64), bits=1)[0]


def spread(plane: np.ndarray) -> np.ndarray:
    """The bits of a plane as numbers 0 and 1, uint64."""
    return kernel().unpack_bits(plane[None], WORD * len(plane))
