"""Bit-sliced comparison."""

from __future__ import annotations

import numpy as np

from ..masked import U64, full, truncated, truncated_mask, unsigned
from .common import need_apart, store_


def pack_bits(v, *, shift=0, bits):
    v = np.pad(unsigned(v).astype(U64), (0, -len(v) % 64)).reshape(-1, 64)
    place = np.arange(64, dtype=U64)
    planes = [(((v >> U64(shift + i)) & U64(1)) << place).sum(-1, dtype=U64) for i in range(bits)]
    return np.stack(planes)


def unpack_bits(planes, n):
    bits = (planes[:, :, None] >> np.arange(64, dtype=U64)) & U64(1)
    place = np.arange(len(planes), dtype=U64)[:, None, None]
    return (bits << place).sum(0, dtype=U64).ravel()[:n]


def borrow_bits(m_planes, r_planes, *, party):
    return ~m_planes & r_planes, r_planes ^ (~m_planes * U64(party == 0))


def _and(d, e, a, b, c, party):
    """XOR share of `x & y` from the opened `d = x ^ a`, `e = y ^ b`."""
    return c ^ (d & b) ^ (e & a) ^ (d & e if party == 0 else d & U64(0))


def _pairs(g, p):
    """(g0, p0, g1, p1) of every pair, the top one first."""
    n = len(g) // 2 * 2
    return [x[n - 2 + i :: -2] if n - 2 + i >= 0 else x[:0] for i in (0, 1) for x in (g[:n], p[:n])]


def carry_open(g, p, a, b):
    g0, p0, _, p1 = _pairs(g, p)
    return np.concatenate([p1 ^ a, np.concatenate([g0, p0[:-1]]) ^ b])


def carry_close(g, p, message, received, a, b, c, *, party):
    pairs = len(g) // 2
    g1 = _pairs(g, p)[2]
    opened = message ^ received
    d, e = opened[:pairs], opened[pairs:]
    d, a = np.concatenate([d, d[:-1]]), np.concatenate([a, a[:-1]])
    product = _and(d, e, a, b, c, party)
    g_out = (g1 ^ product[:pairs])[::-1]
    p_out = np.concatenate([np.zeros_like(g[:1]), product[pairs:][::-1]])
    return np.concatenate([g_out, g[2 * pairs :]]), np.concatenate([p_out, p[2 * pairs :]])


def deal_and_(a0, b0, a1, b1, *, c):
    need_apart({"c": c}, {"a0": a0, "b0": b0, "a1": a1, "b1": b1})
    a = (a0 ^ a1)[np.arange(len(b0)) % len(a0)]
    c ^= a & (b0 ^ b1)


def select(m, v, u, ua, ub, alpha, beta, *, shift, party):
    ring = unsigned(alpha).dtype
    v = unpack_bits(v[None], len(m)).astype(ring)
    mx, mu = truncated(m, shift, ring)
    flip = ring.type(1) - ring.type(2) * v
    drelu = v * ring.type(party == 0) + flip * unsigned(u)
    rx, ux = unsigned(alpha) - mu * full(beta, ring), unsigned(ua) - mu * full(ub, ring)
    return (mx * drelu - v * rx - flip * ux).view(f"{m.dtype.kind}{ring.itemsize}")


def deal_select_(r, u_bits, *, shift, u, ua, ub):
    need_apart({"u": u, "ua": ua, "ub": ub}, {"r": r, "u_bits": u_bits})
    ring, bit = unsigned(ua).dtype, unpack_bits(u_bits[None], len(r))
    a, b = truncated_mask(r, shift)
    store_(u, bit, ring)
    store_(ua, bit * a, ring)
    store_(ub, bit * b, ring)
