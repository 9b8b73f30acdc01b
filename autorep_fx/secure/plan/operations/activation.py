"""Activations: kept positions that are compared, squares and lines of the others, and truncations between layers.

The protocol is parties/operations/activation.py. Arrays that are shared for a site of P positions (K of them compared)
and a batch of N, with F the wire's exponent, f that of the truncated value and k the window's bits; each one additively
in the ring of the result (``bits``, ``product``, ``low``, ``cells``, ``flips``: by XOR). The wire is in a ring of w
bits and has the mask r:

    array     shape           content                                                  when
    alpha     (N, P)          r >> (F - f)                                             a truncated value is needed
    beta      (N, P)          msb(r) 2^(w - F + f); its high half where the result     same
                              has w bits, too, and F - f <= w / 2
    alpha2    (N, P)          alpha^2                                                  squares
    ab        (N, P)          2 alpha beta - beta^2, stored like beta                  squares
    relu      (N K, 3)        rh, rl, rh rl                                            fss, no spline
    u         (J N K,)        a random bit a comparison, J at each position            gmw, table
    u_alpha   (J N K,)        u alpha                                                  gmw, no spline
    u_beta    (J N K,)        u beta, stored like beta                                 gmw, no spline
    high      (N K,)          rh                                                       fss, a spline
    a_alpha   (1 or 2, N K)   a alpha, a the masks of a spline's opening (splines.py)  a spline
    a_beta    (1 or 2, N K)   a beta                                                   a spline
    a_alpha2  (N K,)          a alpha2 of the second a                                 a spline that bends
    a_ab      (N K,)          a ab of the second a                                     a spline that bends
    bits      (k + 1, words)  planes of the mask's window and of u                     gmw
    product   (ANDs, words)   products of the AND triples                              gmw, table
    low       (q + 1, words)  planes of the mask's q bits below the grid, and of the   table
                              bit that hides their borrow
    cells     (2, N K)        the cells that the mask's bits above the grid make 32,   table
                              with and without a borrow, as words with one bit set
    flips     (J, words)      planes of u                                              table

Beside these each party has, of its own: ``mask``, its half of the masks under which the tree opens its planes (gmw,
table); ``a``, of those of a spline's opening; ``key`` and ``root``, the comparison key (the same for both) and its half
of the keys' roots (fss).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....graph.names import KINDS
from ...program import checks, shapes, spline
from ...program.checks import Rule, one_of, several, whole
from ...program.kinds import EXACT
from ...program.ranged import RANGED
from ...program.shapes import Shape, need
from .. import wire
from ..attributes import BITS, FACTOR, KEPT, MASK, SHIFT, WIDTH
from ..operation import Arrays, Operation, Simulated
from ..plan import COMPARISONS, Step
from ..ring import U64, elements, narrowed
from ..rounding import AT_ONCE, NO_BOUND, Rounding, in_ring, no_bound, truncate
from ..server_numbers import Numbers

#: Activations that are compared; the others only where every position is replaced.
COMPARED = tuple(kind for kind, own in EXACT.items() if own.slope != "private")

_PIECES = 65


def _shape(step: Step, x: Shape) -> Shape:
    a, kept = step.attrs, len(step.attrs["kept"])
    need((a["comparison"] is not None) == (kept > 0), "compares without kept positions, or keeps some uncompared")
    need(not kept or a["kind"] in COMPARED or "knots" in a, f"keeps {a['kind']}, which cannot be compared")
    need(not kept or "window" in a, "compares without a window")
    need(not kept or a["shift"] + a["window"] <= a["wire"], "needs a window that lies within the ring")
    own = EXACT.get(a["kind"]) if kept and "knots" not in a else None
    sloped, top = (own is not None and own.slope is not None), (own and own.top)
    need(not sloped or "slope" in a, "lacks 'slope'")
    need(top is None or wire.wire_bits(step) <= a["wire"] - 4, f"has no room for {top:g} on its wire" if top else "")
    if "lifts" in a:
        need(own == EXACT["relu"] and step.shape[:1] == (len(a["lifts"]),), "lifts what it does not keep")
    need(a["powers"] == 2 or a["linear"] is None, "has lines among squares, and no squares")
    if "knots" in a:
        need(all(f"c{k}" in a for k in range(3)), "has a spline without its pieces")
        knots, f = a["knots"], step.frac_bits - a["align"]
        need(kept > 0 and 0 <= f <= a["align"] and a["powers"] > any(a["c2"]), "has a spline and not what it takes")
        need(all(p < q for p, q in zip(knots, knots[1:])), "has knots that do not increase")
        need(all(abs(p) <= 2 ** (a["window"] - 2) for p in knots), "has a knot beyond its window")
        need(all(len(a[f"c{k}"]) == len(knots) + 1 for k in range(3)), "needs a piece between any two knots")
        need(a["c1"][0] == a["c2"][0] == 0, "must start with a constant")
    if "grid" in a:
        fits = "knots" in a and a["window"] == a["grid"] + wire.CELL_BITS + 1
        need(fits, "has a grid of other cells than its window's")
        places = ((p % 2 ** a["grid"], wire.place(step, p)) for p in a["knots"])
        need(all(off == 0 <= place < wire.CELLS for off, place in places), "has a knot off its grid")
    need("grid" in a or not wire.by_table(step), "has tables and no grid")
    need(a["powers"] > 0 or kept == step.size and not sloped, "needs truncated values")
    return x


def _exponent(step: Step, given: list[int]) -> int:
    return given[0] + step.attrs["align"] - step.attrs["shift"]


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    (y,), at_once = given, max(AT_ONCE // max(step.size, 1), 1)
    if rounding.rng is None or len(y) <= at_once:
        return _of_part(step, given, errors, own, rounding)
    found = np.empty((len(y), *step.shape), elements(step.width))
    for start in range(0, len(y), at_once):
        part = slice(start, start + at_once)
        found[part], _ = _of_part(step, [y[part]], [errors[0][part]], own, rounding)
    return found, no_bound(found)


def _of_part(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    a = step.attrs
    y = narrowed(given[0], a["wire"])
    y = y if own.constant is None else y + narrowed(own.constant, a["wire"])
    shape, flat = y.shape, np.ascontiguousarray(y).reshape(len(y), -1)
    x, b = truncate(flat, errors[0].reshape(len(y), -1), a["shift"], rounding)
    align = np.int64(a["align"])
    lift = wire.spline_bits(step) if "knots" in a else 0
    kept: Any = a["kept"]
    if len(kept) == step.size:  # in order (attributes.py)
        kept = slice(None)
    drawn = rounding.rng is not None  # then nobody wants a bound
    value, bound = x << align, b if drawn else np.ldexp(b, a["align"])
    if a["powers"] == 2:
        square: Any = slice(None) if a["linear"] is None else ~a["linear"]
        xs = x[:, square]
        value[:, square] = xs * xs << np.int64(lift)
        if not drawn:
            bs = np.minimum(b[:, square], NO_BOUND)
            bound[:, square] = np.ldexp(2 * np.abs(xs.astype(np.float64)) * bs + bs**2, lift)
    if wire.compared(step, len(y)):
        z, e = x[:, kept], b[:, kept]
        if "knots" in a:
            knots, pieces = np.array(a["knots"], np.int64), np.array([a[f"c{k}"] for k in range(3)], np.int64).T
            slope, jumps = spline.roughness(knots, pieces, 2 ** (a["window"] - 2))
            value[:, kept] = spline.evaluate(knots, pieces, z)
            if not drawn:
                bound[:, kept] = slope * e + np.where(e > 0, jumps, 0)
        else:
            slope = np.int64(wire.slope(step) or 0)
            top = max(wire.points(step)) or None
            found = (np.clip(z, 0, top) if top else np.maximum(z, 0)) << align
            value[:, kept] = found + np.minimum(z, 0) * slope if slope else found
            if not drawn:
                bound[:, kept] = e * max(2.0 ** a["align"], abs(float(slope)))
        if "lifts" in a:
            value[:, kept] <<= step.lifts
            if not drawn:
                bound[:, kept] = np.ldexp(bound[:, kept], step.lifts)
    return in_ring(step, value).reshape(shape), bound.reshape(shape)


def _arrays(step: Step, batch: int) -> Arrays:
    a, n = step.attrs, wire.compared(step, batch)
    ring, comparison = elements(step.width).type, a["comparison"]
    found = wire.truncated_arrays(step, batch) if a["powers"] or comparison == "gmw" else {}
    if a["powers"] >= 2:
        found.update(alpha2=found["alpha"], ab=found["beta"])
    is_spline = "knots" in a
    if is_spline:
        found.update(a_alpha=(wire.openings(step, batch), ring), a_beta=(wire.openings(step, batch), ring))
        if wire.bends(step):
            found.update(a_alpha2=((n,), ring), a_ab=((n,), ring))
    if comparison == "fss":
        found.update(high=((n,), ring)) if is_spline else found.update(relu=((n, 3), ring))
    elif comparison == "table":
        bits, width = a["grid"], wire.tree_words(step, batch)
        found.update(low=((bits + 1, width), U64), product=((wire.products(bits + 1), width), U64))
        found.update(cells=((2, n), U64), flips=((len(wire.points(step)), width), U64))
        found["u"] = ((n * len(wire.points(step)),), ring)
    elif comparison == "gmw":
        n, width = n * len(wire.points(step)), wire.planes(step, batch)
        found["u"] = ((n,), ring)
        if not is_spline:
            found.update(u_alpha=((n,), ring), u_beta=((n,), found["beta"][1]))
        found["bits"] = ((a["window"] + 1, width), U64)
        found["product"] = ((wire.products(a["window"]), width), U64)
    return found


def _shown(step: Step, is_site: bool) -> str:
    a = step.attrs
    parts = []
    if len(a["kept"]):
        parts.append(f"{a['comparison']} of {a['window']} bits" + (", spline" if "knots" in a else ""))
    if a["powers"] >= 2:
        parts.append("squares")
    elif len(a["kept"]) < step.size:
        parts.append("lines" if parts else "lines, truncated" if is_site else "truncation")
    return f"{' + '.join(parts)}, {a['wire']}-bit wire"


OPERATION = Operation(
    {
        None: Rule(
            _shape,
            {"kind": one_of("truncate", *KINDS, *RANGED), "wire": WIDTH, "shift": SHIFT, "align": BITS,
             "powers": whole(0, 2), "kept": KEPT, "linear": MASK, "comparison": one_of(*COMPARISONS, None)},
            {"window": whole(2, 63), "slope": FACTOR, "knots": several(FACTOR, 1, _PIECES - 1),
             **{f"c{k}": several(FACTOR, 2, _PIECES) for k in range(3)}, "error": checks.NUMBER,
             "grid": whole(1, 56), "lifts": several(whole(0, 31), 1, shapes.MOST)},
        )
    },
    _simulate,
    _exponent,
    _arrays,
    constant="may",
    shown=_shown,
)  # fmt: skip
