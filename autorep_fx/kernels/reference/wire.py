"""The activation on a masked wire."""

from __future__ import annotations

import numpy as np

from ..masked import U64, full, relu_merged, truncated, truncated_mask, unsigned
from .common import deliver, need_apart, store_
from .dcf import eval_dcf


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
    sub=None,
    out=None,
):
    read = {"alpha": alpha, "beta": beta, "alpha2": alpha2, "ab": ab, "relu": relu, "sub": sub}
    need_apart({"out": out}, {**read, "linear": linear, "keep": keep}, {"m": m})
    ring = unsigned(next(a for a in (alpha, relu, m) if a is not None)).dtype
    first, up = ring.type(party == 0), ring.type(align)
    z = np.zeros(m.shape, ring)
    if alpha is not None:
        mx, mu = truncated(m, shift, ring)
        rx = unsigned(alpha) - mu * full(beta, ring)
        z = (first * mx - rx) << up
        if alpha2 is not None:
            square = first * mx * mx - ring.type(2) * mx * rx + unsigned(alpha2) - mu * full(ab, ring)
            z = square if linear is None else np.where(linear, z, square)
    if keep is not None:
        z[:, keep] = unsigned(relu) << up
    if sub is not None:
        z = z - unsigned(sub)
    return deliver(z.view(f"{m.dtype.kind}{ring.itemsize}"), out)


def deal_powers_(r, *, shift, alpha, beta, alpha2=None, ab=None):
    need_apart({"alpha": alpha, "beta": beta, "alpha2": alpha2, "ab": ab}, {"r": r})
    ring = unsigned(alpha).dtype
    a, b = truncated_mask(r, shift)
    store_(alpha, a, ring)
    store_(beta, b, ring)
    if alpha2 is not None:
        store_(alpha2, a * a, ring)
        store_(ab, U64(2) * a * b - b * b, ring)


def window(v, keep=None, *, shift, bits):
    v = (unsigned(v) if keep is None else unsigned(v)[:, keep]).astype(U64)
    return (v >> U64(shift)) & U64((1 << bits) - 1)


def deal_relu_(r_window, *, bits, shares):
    need_apart({"shares": shares}, {"r_window": r_window})
    r, ring = r_window.view(U64), unsigned(shares).dtype
    rl, rh = r & U64((1 << (bits - 1)) - 1), r >> U64(bits - 1)
    sigma = U64(2) * rh - U64(1)
    payload = np.stack([sigma, sigma * (rl - (rh << U64(bits - 1))), np.ones_like(r)], -1)
    store_(shares, np.stack([rh, rl, rh * rl], -1), ring)
    return rl, payload.astype(ring)


def relu_fss(key, root, m_window, shares, *, party):
    top, m = int(key[1]), m_window.view(U64)
    p = eval_dcf(key, root, m & U64((1 << top) - 1), party=party)
    return relu_merged(p, m, unsigned(shares), top, party == 0).view(shares.dtype)


def relu_checked(key, root, m_window, shares, tags, *, party, tag_key=0):
    top, m = int(key[1]), m_window.view(U64)
    p, q = np.split(eval_dcf(key, root, m & U64((1 << top) - 1), party=party), 2, 1)
    s = unsigned(shares)
    value = relu_merged(p.astype(s.dtype), m, s, top, party == 0).view(shares.dtype)
    return value, relu_merged(q if party else U64(tag_key) * p - q, m, tags.view(U64), top, 0)
