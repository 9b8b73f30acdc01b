"""Kept activations that are splines: comparisons with every knot, and then one opening. See secure/program/spline.py.

A kept position holds ``x = mx - rx``, ``rx = alpha - mu beta`` (operations/activation.py), and J public knots ``p_j``.

1. Shares of the bits ``b_j = [x >= p_j]``. With ``fss`` from one comparison key of the position, evaluated at the
   public points ``m - p_j``, no message; its payload is ``sigma = 2 rh - 1`` alone: ``b = 1 - [rh] + P`` where the top
   bit of the point is 0, ``[rh] - P`` where it is 1. With ``gmw`` from J comparisons in one borrow tree, which opens
   ``v_j = b_j xor u_j``: ``b_j = v_j + (1 - 2 v_j) [u_j]``. With ``table``, where knots are multiples of 2^q and the
   window of q + 7 bits holds all that x may be: x lies in one of 64 cells of 2^q units, ``c = mh - rh - w`` modulo 64,
   of the six bits of m and of r above the grid, and the borrow w of the q bits below it. The tree finds w alone, and
   what is opened is ``w xor t``, t a random bit of the dealer's. Two words are shared bit by bit, of which only one bit
   is set: at ``32 - rh - t`` and at ``32 - rh - (1 - t)``. The one that ``w xor t`` points to, turned left by mh, has
   its bit at c + 32, whose place nobody sees: its bits from a knot's cell on add up to a share of b_j, with no message.
   The parties open ``v_j = b_j xor u_j``. So of q + J bits in place of J (q + 6) there is a tree.
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

import numpy as np

from ..correlations.prepared import Shares
from ..plan import wire
from ..plan.plan import Step
from ..plan.ring import U64, elements, kernel
from . import gmw
from .talk import Exchange

#: Shares that only a spline with squares has.
_OF_SQUARES = ("alpha2", "ab", "a_alpha2", "a_ab")


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange,
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """This party's share of the spline at the kept positions, less ``sub``; exponent ``step.frac_bits``.

    m: (n,) masked values. shares: those of the comparisons, and ``alpha``, ``beta``, ``alpha2``, ``ab`` (n,) of the
    wire, ``beta`` and ``ab`` whole.
    """
    bends = wire.bends(step)
    sums = _coefficients(step, m, shares, party, exchange, 3 if bends else 2)
    names = ("alpha", "beta", "alpha2", "ab", "a_alpha", "a_beta", "a_alpha2", "a_ab")
    powers = (shares[name] if bends or name not in _OF_SQUARES else None for name in names)
    theirs = exchange(sums[1:])
    return kernel().spline_close(m, sums, theirs, shares["a"], *powers, shift=step.attrs["shift"], sub=sub)


def _coefficients(step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Exchange, rows: int) -> np.ndarray:
    """This party's shares of the coefficients of the piece that each value is in, (rows, n), but for the first less the
    masks of the opening."""
    a, ring = step.attrs, elements(step.width)
    pieces = np.array([a[f"c{k}"] for k in range(rows)], np.int64)
    base, rises = pieces[:, 0].astype(U64), np.diff(pieces).astype(U64)
    if a["comparison"] != "fss":
        bits = (
            _by_table(step, m, shares, party, exchange)
            if wire.by_table(step)
            else _by_tree(step, m, shares, party, exchange)
        )
        own = shares["u"].reshape(len(bits), -1)
        return kernel().spline_sums(bits, own, shares["a"], base=base, rises=rises, party=party)
    sums = rises.astype(ring) @ _by_keys(step, m, shares, party)
    if party == 0:
        sums[0] += base[0].astype(ring)
    sums[1:] -= shares["a"]
    return sums


def _by_tree(step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Exchange) -> np.ndarray:
    """The planes ``v = b xor u`` of all knots, public."""
    a, points = step.attrs, wire.moved(step, m)
    v = gmw.open_drelu(points, a["shift"], a["window"], shares, party, exchange)
    return v.reshape(len(points), -1)


def _by_table(step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Exchange) -> np.ndarray:
    """The same: first the borrow of the bits below the grid, hidden, and then which cells are beyond each knot."""
    a, k = step.attrs, kernel()
    borrow = gmw.open_borrow(m, a["shift"], a["grid"], shares, party, exchange)
    places = np.array([wire.place(step, knot) for knot in a["knots"]], U64)
    bits = k.cell_bits(m, borrow, shares["cells"], shift=wire.cell_shift(step), places=places)
    bits ^= shares["flips"]
    bits ^= exchange(bits)
    return bits


def _by_keys(step: Step, m: np.ndarray, shares: Shares, party: int) -> np.ndarray:
    """This party's shares of ``[x >= knot]`` for every knot, (J, n)."""
    a, k = step.attrs, kernel()
    low = U64((1 << (a["window"] - 1)) - 1)
    windows = k.window(np.stack(wire.moved(step, m)), None, shift=a["shift"], bits=a["window"])
    if "compared" in shares:
        found = shares["compared"][..., 0]
    else:
        evaluated = (k.eval_dcf(shares["key"], shares["root"], w, party=party)[:, 0] for w in windows & low)
        found = np.stack([*evaluated])
    return _turned(shares["high"] - found, (windows <= low).astype(elements(step.width)), party)


def _turned(own: np.ndarray, flips: np.ndarray, party: int) -> np.ndarray:
    """A share of ``b xor f`` for shares of bits b and public bits f: ``1 - b`` where f is 1. ``-b`` is ``~b + 1``."""
    found = -flips
    found ^= own
    found += flips
    if party == 0:
        found += flips
    return found
