"""Splines on a masked wire."""

from __future__ import annotations

import numpy as np

from ..masked import U64, truncated, unsigned
from .bits import pack_bits, unpack_bits


def cell_bits(m, v, cells, *, shift, places):
    x = np.where(unpack_bits(v[None], len(m)) == 1, cells[1], cells[0])
    by = (unsigned(m).astype(U64) >> U64(shift)) & U64(63)
    x = x << by | x >> (-by & U64(63))
    for bits in (1, 2, 4, 8, 16, 32):
        x ^= x >> U64(bits)
    planes = [pack_bits(x, shift=int(place), bits=1) for place in places]
    return np.concatenate(planes) if planes else np.empty((0, (len(m) + 63) // 64), U64)


def spline_sums(v, u, a, *, base, rises, party):
    ring, mine = unsigned(u).dtype, U64(party == 0)
    sums = np.tile((base * mine).astype(ring)[:, None], u.shape[1])
    for bits, own, rise in zip(v, unsigned(u), rises.T):
        bits = unpack_bits(bits[None], u.shape[1]).astype(ring)
        sums += rise.astype(ring)[:, None] * (bits * ring.type(party == 0) + (ring.type(1) - ring.type(2) * bits) * own)
    sums[1:] -= unsigned(a)
    return sums


def spline_close(m, sums, theirs, a, alpha, beta, alpha2, ab, a_alpha, a_beta, a_alpha2, a_ab, *, shift, sub=None):
    ring = unsigned(sums).dtype
    mx, mu = truncated(m, shift, ring)
    opened, (a1, *a2) = sums[1:] + theirs, sums[1:] + a
    rx, a_rx = alpha - mu * beta, a_alpha - mu * a_beta
    out = sums[0] + mx * a1 - opened[0] * rx - a_rx[0]
    if a2:
        out += mx * (mx * a2[0] - ring.type(2) * (opened[1] * rx + a_rx[1]))
        out += opened[1] * (alpha2 - mu * ab) + a_alpha2 - mu * a_ab
    return (out if sub is None else out - sub).view(f"{m.dtype.kind}{ring.itemsize}")
