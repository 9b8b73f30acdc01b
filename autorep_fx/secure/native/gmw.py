"""``drelu(x) = 1{x >= 0}`` on a masked wire by a bit-sliced borrow tree (variant ``gmw``), and the product with it.

Both parties know the window ``m_k = x + r_k`` (k bits); ``[r_k]`` is shared bit by bit.

1. Locally: ``g_i = (not m_i) and [r_i]``, ``p_i = not (m_i xor [r_i])`` for the k - 1 low bits.
2. ceil(log2(k - 1)) times: neighbours merge, ``g = g1 xor p1 g0``, ``p = p1 p0``. A merge opens ``p1 ^ a``, ``g0 ^ b``,
   ``p0 ^ b'`` under the masks of two AND triples that share ``a`` (the lowest merge: the first two only).
3. ``[drelu] = not (m_h xor [r_h] xor [borrow])``; the parties open ``v = drelu xor u`` under the dealer's bit ``u``.
4. ``x drelu = v [x] + (1 - 2 v) (mx [u] - [u alpha] + mu [u beta])`` for ``[x] = mx - [alpha] + mu [beta]``, locally.

Rounds: ceil(log2(k - 1)) + 1 exchanges. Online: ``planes(k)`` bits an element each way. Offline, dealer to server:
k + 1 + triples(k) bits and 24 bytes. Exact on windows. What is opened is uniform: every mask is used once.
Source: Goldreich, Micali, Wigderson (STOC 1987); Beaver (CRYPTO 1991); the tree is CrypTen's set-propagate-kill, kept
to the bit that is needed.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from . import bits
from .ring import U64

#: Sends this party's planes and returns the other's.
Exchange = Callable[[np.ndarray], np.ndarray]


def levels(window: int) -> list[int]:
    """Merges at every level of the tree."""
    nodes, merges = window - 1, []
    while nodes > 1:
        merges.append(nodes // 2)
        nodes -= nodes // 2
    return merges


def exchanges(window: int) -> int:
    return len(levels(window)) + 1


def masks(window: int) -> int:
    """Planes that are opened in the tree, each under a mask of its own."""
    return sum(3 * h - 1 for h in levels(window))


def triples(window: int) -> int:
    """AND gates: planes of products that the dealer shares."""
    return sum(2 * h - 1 for h in levels(window))


def planes(window: int) -> int:
    """Planes sent each way."""
    return masks(window) + 1


def products(window: int, opened: np.ndarray) -> np.ndarray:
    """The dealer's products of the triples from all masks (masks(window), words)."""
    found, at = [], 0
    for h in levels(window):
        a, b, b2 = opened[at : at + h], opened[at + h : at + 2 * h], opened[at + 2 * h : at + 3 * h - 1]
        found += [a & b, a[1:] & b2]
        at += 3 * h - 1
    return np.concatenate(found) if found else np.zeros((0, opened.shape[1]), U64)


def borrow(m: np.ndarray, r: np.ndarray, mask: np.ndarray, product: np.ndarray, party: int, exchange: Exchange) -> np.ndarray:
    """This party's XOR share of ``[m_low < r_low]``.

    m: (k - 1, words) public planes; r: XOR shares of the mask's; mask, product: this party's part of the triples.
    """
    full = U64(2**64 - 1) if party == 0 else U64(0)
    g = ~m & r
    p = (m & full) ^ full ^ r
    at = done = 0
    while len(g) > 1:
        h = len(g) // 2
        p1, g0, p0 = p[1 : 2 * h : 2], g[0 : 2 * h : 2], p[2 : 2 * h : 2]
        hidden = np.concatenate([p1, g0, p0])
        mine = mask[at : at + 3 * h - 1]
        hidden ^= mine
        hidden ^= exchange(hidden)  # now open
        d, e, e2 = hidden[:h], hidden[h : 2 * h], hidden[2 * h :]
        a, b, b2 = mine[:h], mine[h : 2 * h], mine[2 * h :]
        c, c2 = product[done : done + h], product[done + h : done + 2 * h - 1]
        pg = c ^ (d & b) ^ (e & a) ^ (d & e & full)
        pp = c2 ^ (d[1:] & b2) ^ (e2 & a[1:]) ^ (d[1:] & e2 & full)
        rest = slice(2 * h, None)
        g = np.concatenate([g[1 : 2 * h : 2] ^ pg, g[rest]])
        p = np.concatenate([p[:1], pp, p[rest]])  # nobody reads the lowest
        at, done = at + 3 * h - 1, done + 2 * h - 1
    return g[0]


def opened_drelu(window_m: np.ndarray, window: int, shares: dict[str, np.ndarray], party: int, exchange: Exchange) -> np.ndarray:
    """``v = drelu xor u`` of every element, public: uint64 zeros and ones.

    window_m: (n,) windows. shares: ``bits`` (k + 1, words): XOR shares of the mask's planes and of u; ``mask``,
    ``product``: this party's part of the triples.
    """
    m = bits.to_planes(window_m, window)
    r = shares["bits"]
    low = borrow(m[:-1], r[: window - 1], shares["mask"], shares["product"], party, exchange)
    v = low ^ r[window - 1] ^ r[window]
    if party == 0:
        v ^= ~m[-1]
    v ^= exchange(v[None])[0]
    return bits.from_plane(v, len(window_m))
