"""Arithmetic on ring elements."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...text import brief
from ..masked import U64
from .common import deliver, need_apart


def beaver_square(epsilon, r, r2, *, frac_bits, party, out=None):
    need_apart({"out": out}, {}, {"epsilon": epsilon, "r": r, "r2": r2})
    epsilon = np.asarray(epsilon)
    e, r, r2 = (np.asarray(a).view(U64) for a in (epsilon, r, r2))
    v = r2 + U64(2) * e * r
    if party == 0:
        v = v + e * e
    s = v.view(np.int64)
    low = np.int64((1 << frac_bits) - 1)
    q = ((s + np.where(s < 0, low, np.int64(0))) >> np.int64(frac_bits)).view(U64)
    return deliver(q.view(epsilon.dtype), out)


@dataclasses.dataclass(frozen=True)
class PackedWeight:
    weight: np.ndarray
    groups: int

    __repr__ = brief


def pack_weight(weight, *, groups=1, weight_bits=64):
    return PackedWeight(np.asarray(weight), groups)


def conv2d(x, weight, *, stride=1, padding=0, dilation=1, add=None, out=None):
    need_apart({"out": out}, {"x": x}, {"add": add})
    w, groups = weight.weight.view(f"u{x.itemsize}"), weight.groups
    (sh, sw), (ph, pw), (dh, dw) = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding, dilation))
    outputs, per_group, kh, kw = w.shape
    p = np.pad(x.view(w.dtype), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh, ow = ((p.shape[2] - dh * (kh - 1) - 1) // sh + 1, (p.shape[3] - dw * (kw - 1) - 1) // sw + 1)
    y = np.zeros((x.shape[0], outputs, oh, ow), w.dtype)
    step = outputs // groups
    for g in range(groups):
        mine, channels = slice(g * step, (g + 1) * step), slice(g * per_group, (g + 1) * per_group)
        for ky in range(kh):
            for kx in range(kw):
                window = p[:, channels, ky * dh : ky * dh + sh * (oh - 1) + 1 : sh]
                window = window[..., kx * dw : kx * dw + sw * (ow - 1) + 1 : sw]
                y[:, mine] += np.einsum("oc,nchw->nohw", w[mine, :, ky, kx], window)
    if add is not None:
        y += add.view(w.dtype)
    return deliver(y.view(x.dtype), out)


def prepare_conv2d(x_shape, weight, *, stride=1, padding=0, dilation=1):
    pass  # nothing here depends on the input's shape


def linear(x, weight, *, add=None, out=None):
    need_apart({"out": out}, {"x": x}, {"add": add})
    y = x.view(f"u{x.itemsize}") @ weight.weight.view(f"u{x.itemsize}").T
    if add is not None:
        y = y + add.view(y.dtype)
    return deliver(y.view(x.dtype), out)
