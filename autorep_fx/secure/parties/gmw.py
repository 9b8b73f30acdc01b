"""``drelu(x) = 1{x >= 0}`` on a masked wire by a bit-sliced borrow tree (variant ``gmw``), and the product with it.

Both parties know the window ``m_k = x + r_k`` (k bits); ``[r_k]`` is shared bit by bit.

1. Locally: ``g_i = (not m_i) and [r_i]``, ``p_i = not (m_i xor [r_i])`` for the k - 1 low bits.
2. ceil(log2(k - 1)) times: neighbours merge, ``g = g1 xor p1 g0``, ``p = p1 p0``. A merge opens ``p1 ^ a``, ``g0 ^ b``,
   ``p0 ^ b'`` under the masks of two AND triples that share ``a`` (the lowest merge: the first two only).
3. ``[drelu] = not (m_h xor [r_h] xor [borrow])``; the parties open ``v = drelu xor u`` under the dealer's bit ``u``.
4. ``x drelu = v [x] + (1 - 2 v) (mx [u] - [u alpha] + mu [u beta])`` for ``[x] = mx - [alpha] + mu [beta]``, locally.

Rounds: ceil(log2(k - 1)) + 1 exchanges. Online: ``masks(k) + 1`` bits an element each way. Offline, dealer to server:
``k + 1 + products(k)`` bits and 20 or 24 bytes. Exact on windows. Whatever is opened is uniform: each mask is used
once. Source: Goldreich, Micali, Wigderson (STOC 1987); Beaver (CRYPTO 1991); the tree is CrypTen's set-propagate-kill,
kept to the bit that is needed. Kernels: autorep_fx.kernels.bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..plan import wire
from ..plan.ring import kernel
from .talk import Exchange


def triples(window: int, mask: np.ndarray, product: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each level's (a, b, c) in a party's masks and products."""
    at = done = 0
    for nodes in wire.levels(window):
        h = nodes // 2
        yield mask[at : at + h], mask[at + h : at + 3 * h - 1], product[done : done + 2 * h - 1]
        at, done = at + 3 * h - 1, done + 2 * h - 1


def open_drelu(points: list[np.ndarray], shift: int, window: int, shares: dict[str, np.ndarray], party: int,
               exchange: Exchange) -> np.ndarray:  # fmt: skip
    """The plane ``v = drelu xor u``, public, of the windows of all points side by side, each in words of its own.

    points: (n,) masked values each. shares: ``bits`` (k + 1, words), XOR shares of the mask's planes and of u;
    ``mask``, ``product``: this party's part of the triples.
    """
    k, r = kernel(), shares["bits"]
    packed = [k.pack_bits(m, shift=shift, bits=window) for m in points]
    planes = packed[0] if len(packed) == 1 else np.concatenate(packed, 1)
    v = _borrow(planes[: window - 1], r[: window - 1], shares, party, exchange) ^ r[window - 1] ^ r[window]
    if party == 0:
        v ^= ~planes[-1]
    v ^= exchange(v[None])[0]
    return v


def open_borrow(m: np.ndarray, shift: int, bits: int, shares: dict[str, np.ndarray], party: int,
                exchange: Exchange) -> np.ndarray:  # fmt: skip
    """The plane ``borrow xor t``, public, of ``bits`` bits of m from ``shift`` on and those of its mask.

    m: (n,) masked values. shares: ``low`` (bits + 1, words), XOR shares of the mask's planes and of t; ``mask``,
    ``product``: this party's part of the triples.
    """
    r = shares["low"]
    v = _borrow(kernel().pack_bits(m, shift=shift, bits=bits), r[:bits], shares, party, exchange) ^ r[bits]
    v ^= exchange(v[None])[0]
    return v


def _borrow(m: np.ndarray, r: np.ndarray, shares: dict[str, np.ndarray], party: int, exchange: Exchange) -> np.ndarray:
    """This party's share of the plane ``[m < r]``, of public planes and shared ones, as many."""
    k = kernel()
    g, p = k.borrow_bits(m, r, party=party)
    for a, b, c in triples(len(m) + 1, shares["mask"], shares["product"]):
        message = k.carry_open(g, p, a, b)
        g, p = k.carry_close(g, p, message, exchange(message), a, b, c, party=party)
    return g[0]


def relu(m: np.ndarray, v: np.ndarray, part: int, shares: dict[str, np.ndarray], alpha: np.ndarray, beta: np.ndarray,
         shift: int, party: int) -> np.ndarray:  # fmt: skip
    """This party's share of ``x drelu`` for the n elements from ``part * n`` on.

    m: (n,) masked values. v: their public bits, from :func:`open_drelu`. alpha, beta: shares of the wire's truncation.
    """
    n = len(m)
    own = slice(part * n, (part + 1) * n)
    return kernel().select(
        m, v, *(shares[name][own] for name in ("u", "u_alpha", "u_beta")), alpha, beta, shift=shift, party=party
    )
