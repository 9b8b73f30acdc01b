"""Kept activations that are splines: comparisons with every knot, and then one opening. See secure/program/spline.py.

A kept position holds ``x = mx - rx``, ``rx = alpha - mu beta`` (operations/activation.py), and J public knots ``p_j``.

1. Shares of the bits ``b_j = [x >= p_j]``. With ``fss`` from one comparison key of the position, evaluated at the
   public points ``m - p_j``, no message; its payload is ``sigma = 2 rh - 1`` alone: ``b = 1 - [rh] + P`` where the top
   bit of the point is 0, ``[rh] - P`` where it is 1. With ``gmw`` from J comparisons in one borrow tree, which opens
   ``v_j = b_j xor u_j``: ``b_j = v_j + (1 - 2 v_j) [u_j]``.
2. Locally, with ``d_jk`` what coefficient k rises by at knot j: ``[A_k] = sum_j d_jk [b_j]``, the coefficients of the
   piece that x lies in.
3. The parties open ``D_k = A_k - a_k`` for k = 1, 2 (only 1 where no piece bends), ``a_k`` from the dealer: one
   exchange.
4. ``A_1 x = mx [A_1] - D_1 [rx] - [a_1 rx]`` and ``A_2 x**2 = mx**2 [A_2] - 2 mx (D_2 [rx] + [a_2 rx]) + D_2 [rx**2] +
   [a_2 rx**2]``, with ``[a rx] = [a alpha] - mu [a beta]`` and ``[a rx**2] = [a alpha2] - mu [a ab]``.

The sum ``A_0 + A_1 x + A_2 x**2`` is the piece's value of the truncated x in whole numbers, in the ring of the result:
exact.

Instead of a key with a payload of five words that needs no exchange (docs/protocol.md, "Splines") there is one of a
single word and one exchange: a key is less than half as long and its evaluations, most of the work, take half as long.
Dealt, beside the comparison's: ``a`` and its products, 8 words a position (3 where no piece bends).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...kernels.masked import truncated
from ..correlations.prepared import Shares
from ..plan import wire
from ..plan.plan import Step
from ..plan.ring import U64, elements, kernel
from . import gmw
from .talk import Exchange


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange) -> np.ndarray:
    """This party's share of the spline at the kept positions, exponent ``step.frac_bits``.

    m: (n,) masked values. shares: those of the comparisons, and ``alpha``, ``beta``, ``alpha2``, ``ab`` (n,) of the
    wire, ``beta`` and ``ab`` whole.
    """
    a, ring = step.attrs, elements(step.width)
    steps = [np.diff(np.array(a[f"c{k}"], np.int64)).astype(ring) for k in range(3)]
    bends = wire.bends(step)
    sums = [np.full(len(m), int(a["c0"][0]) % 2**step.width if party == 0 else 0, ring)]
    sums += [np.zeros(len(m), ring) for _ in range(2 if bends else 1)]
    for j, bit in enumerate(_bits(step, m, shares, party, exchange)):
        for total, rise in zip(sums, steps):
            total += rise[j] * bit
    mine = np.stack(sums[1:]) - shares["a"]
    opened = exchange(mine) + mine

    mx, mu = truncated(m, a["shift"], ring)
    rx = shares["alpha"] - mu * shares["beta"]
    a_rx = shares["a_alpha"] - mu * shares["a_beta"]
    out = sums[0] + mx * sums[1] - opened[0] * rx - a_rx[0]
    if bends:
        r2 = shares["alpha2"] - mu * shares["ab"]
        out += mx * (mx * sums[2] - ring.type(2) * (opened[1] * rx + a_rx[1]))
        out += opened[1] * r2 + shares["a_alpha2"] - mu * shares["a_ab"]
    return out


def _bits(step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Exchange) -> Iterator[np.ndarray]:
    """This party's share of ``[x >= knot]`` for every knot, in turn."""
    a, k, ring = step.attrs, kernel(), elements(step.width)
    at = wire.moved(step, m)
    if a["comparison"] == "gmw":
        n = len(m)
        v = gmw.open_drelu(at, a["shift"], a["window"], shares, party, exchange)
        for bits, own in zip(v.reshape(len(at), -1), shares["u"].reshape(len(at), n)):
            yield _turned(own, k.unpack_bits(bits[None], n).astype(ring), party)
        return
    low = U64((1 << (a["window"] - 1)) - 1)
    for i, v in enumerate(at):
        window = k.window(v[None], None, shift=a["shift"], bits=a["window"])[0]
        if "compared" in shares:
            found = shares["compared"][i, :, 0]
        else:
            found = k.eval_dcf(shares["key"], shares["root"], window & low, party=party)[:, 0]
        yield _turned(shares["high"] - found, (window <= low).astype(ring), party)


def _turned(own: np.ndarray, flips: np.ndarray, party: int) -> np.ndarray:
    """A share of ``b xor f`` for shares of bits b and public bits f: ``1 - b`` where f is 1. ``-b`` is ``~b + 1``."""
    found = -flips
    found ^= own
    found += flips
    if party == 0:
        found += flips
    return found
