"""The mask of a wire, of which each party has a half, truncated: shares of what plan/operations/activation.py calls
alpha and beta.

The server's half is s, the client's B, the mask r = s - B in a ring of w bits. With ``s' = s >> t`` and ``B' = B >>
t`` of L = w - t bits, alpha = (s' - B') mod 2^L and beta = msb(alpha) 2^L. A dealer, who knows r, takes r >> t: here
the low bits' borrow is left out, so that a truncated value is off by up to 1.5 units in place of one, and by none on
average once the server adds half a unit to its mask. All else that is said of a masked wire holds as it is, of values
up to 2^(w - 2) - 1.5 2^t.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....text import brief
from ...plan.ring import elements, kernel
from .arithmetic import (
    choose,
    cross,
    difference,
    times,
    words_of_choices,
    words_of_cross,
    words_of_difference,
    words_of_times,
)
from .stock import Need, Transfers
from .transfers import Pair, padded
from .turns import Protocol, Words, together, words_together

#: A use of the chain's transfers, beside its bits.
_SQUARE = 1


class Wire(NamedTuple):
    """A masked wire, or a part of one.

    Attributes:
        n: elements.
        bits: of its ring, w.
        shift: t.
        width: of the ring of the result, W.
        squares: whether alpha^2 and 2 alpha beta - beta^2 are wanted.
    """

    n: int
    bits: int
    shift: int
    width: int
    squares: bool = False

    def __repr__(self) -> str:
        return brief(self)

    @property
    def length(self) -> int:
        """L, the bits of alpha."""
        return self.bits - self.shift

    @property
    def above(self) -> int:
        """Bits of the result's ring above those of alpha."""
        return max(0, self.width - self.length)

    def needs(self, *, server: bool = False, client: bool = False) -> list[Need]:
        """Transfers of the chain, of the wrap and of the high bit. server, client: whether there are strings of the
        chain that it sends, and then both send some of the wrap and the high bit, for others than :func:`truncated`."""
        size, both = padded(self.n), server or client or (self.squares and self.above > 1)
        chain = Need(size * self.length, 1, server or self.squares, client)
        return [chain] + [Need(size, 0, True, both)] * (2 if self.above else 0)


class Mask(NamedTuple):
    """A party's shares of a truncated mask; vectors are padded to whole words.

    Attributes:
        planes: (L, words), the bits of alpha by XOR.
        alpha: in the result's ring.
        high: msb(alpha), modulo 2^(W - L), in the result's ring; 0 where that is no bit.
        alpha2, ab: alpha^2 and 2 alpha beta - beta^2; empty where they are not wanted.
        own: s' or -B'.
        wrap: a plane, by XOR: whether s' < B'.
        chain: transfers whose choices are the other's, and this party's, bits of s' or B', (L n) of them.
        of_wrap, of_high: those whose choices are ``wrap`` and the top plane; none where ``high`` is no bit.
    """

    planes: np.ndarray
    alpha: np.ndarray
    high: np.ndarray
    alpha2: np.ndarray
    ab: np.ndarray
    own: np.ndarray
    wrap: np.ndarray
    chain: Pair
    of_wrap: Pair
    of_high: Pair

    def __repr__(self) -> str:
        return brief(self)


def truncated(wire: Wire, half: np.ndarray, transfers: Transfers, party: int) -> Protocol[Mask]:
    """The server's (party 0) or the client's shares, of its half of the mask (n,)."""
    ring, size, length, above = elements(wire.width), padded(wire.n), wire.length, wire.above
    number = np.zeros(size, half.dtype)
    number[: wire.n] = half.reshape(-1)
    planes = kernel().pack_bits(number, shift=wire.shift, bits=length)
    chain = transfers.take()
    yield from choose([planes.reshape(-1)], [chain])
    bits, wrap = yield from difference(planes, chain, subtracts=party == 1)
    number >>= number.dtype.type(wire.shift)
    own = number.astype(ring) if party == 0 else -number.astype(ring)
    if not above:  # alpha is wider than the ring: neither the wrap nor beta is seen there
        zero, none = np.zeros_like(own), chain.part(0, 0)
        alpha2 = (yield from _squared(wire, own, chain, party)) if wire.squares else own[:0]
        return Mask(bits, own, zero, alpha2, zero[: len(alpha2)], own, wrap, chain, none, none)
    of_wrap, of_high = transfers.take(), transfers.take()
    yield from choose([wrap, bits[-1]], [of_wrap, of_high])
    extra = [(own, above - 1)] if wire.squares and above > 1 else []
    found = yield from together(
        times(wrap, extra, of_wrap, use=0, one=above, party=party),
        times(bits[-1], [], of_high, use=0, one=above, party=party),
        *([_squared(wire, own, chain, party)] if wire.squares else []),
    )
    wraps, (high,) = [v.astype(ring) for v in found[0]], (v.astype(ring) for v in found[1])
    alpha = own + up(wraps[0], length)
    alpha2 = ab = own[:0]
    if wire.squares:
        alpha2 = found[2] + up(wraps[0], 2 * length) + (up(wraps[1], length + 1) if extra else ring.type(0))
        ab = -up(high, 2 * length)
        if extra:
            (product,) = yield from times(bits[-1], [(alpha, above - 1)], of_high, use=0, party=party)
            ab += up(product.astype(ring), length + 1)
    return Mask(bits, alpha, high, alpha2, ab, own, wrap, chain, of_wrap, of_high)


def words(wire: Wire) -> Words:
    """What :func:`truncated` says."""
    n, length, above = padded(wire.n), wire.length, wire.above
    found = words_of_choices(n * length) + words_of_difference(n, length)
    squared = words_of_cross(n, wire.width - 1, length, client=False) if wire.squares else []
    if not above:
        return found + squared
    more = (above - 1,) if wire.squares and above > 1 else ()
    found += words_of_choices(2 * n)
    found += words_together(words_of_times(n, *more, one=above), words_of_times(n, one=above), squared)
    return found + (words_of_times(n, *more) if more else [])


def _squared(wire: Wire, own: np.ndarray, chain: Pair, party: int) -> Protocol[np.ndarray]:
    """Shares of (s' - B')^2 = s'^2 - 2 s' B' + B'^2; own is s' or -B'. The server sends s' under the client's bits."""
    sends = party == 0
    product = yield from cross(own, wire.width - 1, chain.rows(len(own)), use=_SQUARE, sends=sends, receives=not sends)
    return own * own - up(product.astype(own.dtype), 1)


def up(v: np.ndarray, bits: int) -> np.ndarray:
    """``v 2**bits``; NumPy leaves undefined what is shifted by all bits."""
    return v << v.dtype.type(bits) if bits < 8 * v.itemsize else np.zeros_like(v)
