"""The activation on a masked wire."""

from __future__ import annotations

import numpy as np

from .common import U64, deliver
from .dcf import eval_dcf


def _full(a):
    return a.view(U64) if a.itemsize == 8 else a.view(np.uint32).astype(U64) << U64(32)


def activation_step(
    m,
    *,
    shift,
    align,
    party,
    alpha=None,
    beta=None,
    alpha2=None,
    ab=None,
    linear=None,
    relu=None,
    keep=None,
    add=None,
    sub=None,
    out=None,
):
    dtype, m, t = m.dtype, m.view(U64), U64(shift)
    first = U64(party == 0)
    z = np.zeros_like(m)
    if alpha is not None:
        shifted = m + U64(1 << 62)
        mx = (shifted >> t) - U64(1 << (62 - shift))
        mu = U64(1) - (shifted >> U64(63))
        rx = alpha.view(U64) - mu * _full(beta)
        z = (first * mx - rx) << U64(align)
        if alpha2 is not None:
            square = first * mx * mx - U64(2) * mx * rx + alpha2.view(U64) - mu * _full(ab)
            z = square if linear is None else np.where(linear, z, square)
    if keep is not None:
        z[:, keep] = relu.view(U64) << U64(align)
    z = z + (U64(0) if add is None else add.view(U64)) - (U64(0) if sub is None else sub.view(U64))
    return deliver(z.view(dtype), out)


def deal_powers_(r, *, shift, alpha, beta, alpha2=None, ab=None):
    r = r.view(U64)
    a = r >> U64(shift)
    b = (r >> U64(63)) << U64(64 - shift) if shift else np.zeros_like(r)

    def store(array, value):
        if array.itemsize == 4:
            array, value = array.view(np.uint32), (value >> U64(32)).astype(np.uint32)
        array[...] = value - array

    store(alpha, a)
    store(beta, b)
    if alpha2 is not None:
        store(alpha2, a * a)
        store(ab, U64(2) * a * b - b * b)


def window(v, keep=None, *, shift=0, bits=64, out=None):
    v = v.view(U64) if keep is None else v.view(U64)[:, keep]
    return deliver((v >> U64(shift)) & U64((1 << bits) - 1), out)


def deal_relu_(r_window, *, bits, shares):
    r = r_window.view(U64)
    rl, rh = r & U64((1 << (bits - 1)) - 1), r >> U64(bits - 1)
    sigma = U64(2) * rh - U64(1)
    payload = np.stack([sigma, sigma * (rl - (rh << U64(bits - 1))), np.ones_like(r)], -1)
    shares.view(U64)[...] = np.stack([rh, rl, rh * rl], -1) - shares.view(U64)
    return rl, payload


def relu_fss(key, root, m_window, shares, *, party, out=None):
    top = int(key[1])
    m = m_window.view(U64)
    ml, mh = m & U64((1 << top) - 1), m >> U64(top)
    h, low, hl = shares.view(U64).T
    p1, p2, p3 = eval_dcf(key, root, ml, party=party).T
    one = U64(party == 0)
    v0 = (one - h) * ml - (low - hl) + p1 * ml - p2
    v1 = h * ml - hl - p1 * ml + p2 + (p3 << U64(top))
    return deliver(np.where(mh == 0, v0, v1).view(m_window.dtype), out)
