"""Masked values and the shares of their truncation in NumPy: what the kernels of `wire` compute in one pass, in pieces.

For steps that no kernel does whole, and for the reference. See `wire` for what is shared.
"""

from __future__ import annotations

import numpy as np

U64 = np.uint64


def unsigned(a):
    """The same bits as unsigned numbers of their width."""
    return a.view(f"u{a.itemsize}")


def truncated(m, shift, ring):
    """Of masked values: the public part of the truncated value, and mu, in the ring of the result."""
    m, bits = unsigned(m), 8 * m.itemsize
    lifted = m + m.dtype.type(1 << (bits - 2))
    top = lifted >> m.dtype.type(bits - 1)
    mx = (lifted >> m.dtype.type(shift)).astype(ring) - ring.type((1 << (bits - 2 - shift)) % 2 ** (8 * ring.itemsize))
    return mx, ring.type(1) - top.astype(ring)


def truncated_mask(r, shift):
    """alpha and beta of a mask, in 64 bits: what is shared of them is theirs modulo its ring."""
    bits, r = 8 * r.itemsize, unsigned(r).astype(U64)
    return r >> U64(shift), (r >> U64(bits - 1)) << U64(bits - shift)  # NumPy shifts 64 bits out


def relu_merged(p, m_window, shares, top, one):
    """What a comparison key's values at a window's low ``top`` bits make of it, in the ring of the shares: a share of
    ReLU. p, shares: (n, 3), shares of b sigma, b sigma r0, b, and of rh, rl, rh rl; one: 1 at party 0, else 0."""
    ring = shares.dtype
    ml, mh = (m_window & U64((1 << top) - 1)).astype(ring), m_window >> U64(top)
    h, low, hl = shares.T
    p1, p2, p3 = p.T
    v0 = (ring.type(one) - h) * ml - (low - hl) + p1 * ml - p2
    v1 = h * ml - hl - p1 * ml + p2 + (p3 << ring.type(top))
    return np.where(mh == 0, v0, v1)


def full(a, ring):
    """A share as it is stored, in its ring: whole, or by its high half."""
    a = unsigned(a)
    return a.astype(ring) << ring.type(8 * (ring.itemsize - a.itemsize))
