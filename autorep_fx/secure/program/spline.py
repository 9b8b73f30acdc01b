"""Element-wise activations as quadratic splines: what both backends compute where one is kept that is no ReLU.

A spline has a polynomial of degree 2 between any two knots, each the best for itself: at a knot it may jump by twice
the stated error. That takes about half the knots of a smooth spline, and every knot is a comparison. Coefficients are
multiples of ``2**-bits`` (times the unit of the argument for the lower powers), rounded one after another, so that a
rounded c2 moves c1 and c0 and errs over the width of its own piece only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...text import brief
from .ranged import RANGED

#: How far off a spline may be, by default.
SPLINE_ERROR = 0.005

#: Arguments that reach less than this have results that are smaller, and differ by less.
WIDE = 8.0

#: Fractional bits of the coefficients of x**2: the most, and the fewest.
BITS, FEWEST_BITS = 12, 4

#: Where pieces of these kinds end for sure.
_KINKS = {"hardswish": (-3.0, 3.0), "hardsigmoid": (-3.0, 3.0), "elu": (0.0,), "celu": (0.0,), "selu": (0.0,)}

#: Of the error that an activation may have, what a function may have whose error is relative (ranged.py).
_RELATIVE = 0.4

#: A piece of no more arguments is fitted to all of them.
_FEW = 9

#: What part of a step of the argument a relative error may always be: the steps themselves err by more.
_OF_STEP = 2.0**-4

#: To what part of the range the end of a piece is looked for; of no more than ``WIDE``.
_NEAR_ENOUGH = 2.0**-9

#: Points at which the error of a piece is taken, all arguments where there are no more; and knots of a spline.
_SAMPLES, _MOST_KNOTS = 65, 64

#: Splines that are remembered.
_KNOWN = 1024


@dataclass(frozen=True)
class Spline:
    """``pieces[i]`` right of ``knots[i - 1]``, and at it; the first piece is a constant.

    Attributes:
        knots: (K,) integers, multiples of ``2**-frac_bits``, increasing.
        pieces: (K + 1, 3) integers, ``pieces[i, k]`` multiplies X**k for X in units of ``2**-frac_bits``; the value has
            the exponent ``2 * frac_bits + bits``.
        error: largest difference to the function, over the range that it was made for; of one of ranged.py, relative
            to it.
    """

    knots: np.ndarray
    pieces: np.ndarray
    error: float

    __repr__ = brief


def function(kind: str, params: Mapping[str, float | str]) -> Callable[[np.ndarray], np.ndarray]:
    """The activation of float64 arrays."""
    import torch  # where a spline is made, not where it is evaluated

    from ...graph.activations import Activation

    if kind in RANGED:
        return lambda x: RANGED[kind].of(torch.from_numpy(np.atleast_1d(x).astype(np.float64)), **params).numpy()
    activation = Activation(kind, **params)
    return lambda x: activation(torch.from_numpy(np.atleast_1d(x).astype(np.float64))).numpy()


def allowed(kind: str, error: float, reach: float) -> float:
    """How far off a spline may be where its argument reaches so far: in proportion, below ``WIDE``."""
    return error * (_RELATIVE if kind in RANGED else min(1.0, reach / WIDE))


def narrow_bits(kind: str, error: float, ranged: bool = False) -> int:
    """Bits of coefficients, where each leaves less room for other things: so few that a spline takes one to three knots
    more for the same error. ranged: of functions of many octaves, too, whose arguments have more bits than others'."""
    if kind in RANGED:
        return FEWEST_BITS if ranged else BITS
    return min(max(math.ceil(-math.log2(error)) - FEWEST_BITS, FEWEST_BITS), BITS)


def spline(
    kind: str, params: Mapping[str, float | str], limit: float, frac_bits: int, error: float, bits: int = BITS,
    grid: int = 1,
) -> Spline:  # fmt: skip
    """The spline of an activation for ``|x| < limit`` that is nowhere off by more than ``error``.

    Args:
        kind, params: of :class:`~autorep_fx.graph.activations.Activation`.
        limit: a power of two; what the comparisons have room for.
        frac_bits: exponent of the argument; with few bits the steps of the argument count as well, and what counts in
            proportion need not be much nearer than these.
        bits: fractional ones of the coefficients of x**2.
        grid: units of the argument of which every knot is a multiple.

    Raises:
        ValueError: no spline of at most 64 knots is that near, or its coefficients have no room in 64 bits.
    """
    return _spline(kind, tuple(params.items()), limit, frac_bits, error, bits, grid)


def possible(
    kind: str, params: Mapping[str, float | str], limit: float, frac_bits: int, error: float, most: float, bits: int
) -> float:
    """How far off a spline has to be: by ``error``, or twice that, and so on, until there is one.

    Raises:
        ValueError: there is none by ``most``.
    """
    return _possible(kind, tuple(params.items()), limit, frac_bits, error, most, bits)


@lru_cache(_KNOWN)
def _possible(
    kind: str, params: tuple[tuple[str, float | str], ...], limit: float, frac_bits: int, error: float, most: float,
    bits: int,
) -> float:  # fmt: skip
    while True:
        try:
            _spline(kind, params, limit, frac_bits, error, bits, 1)
            return error
        except ValueError:
            if error >= most:
                raise
            error = min(2 * error, most)


@lru_cache(_KNOWN)
def _spline(
    kind: str, params: tuple[tuple[str, float | str], ...], limit: float, frac_bits: int, error: float, bits: int,
    grid: int,
) -> Spline:  # fmt: skip
    """Plans are made again and again, and most of their sites are what they were."""
    f = _Wanted(kind, dict(params), limit, bits)
    unit = 2.0**-frac_bits
    if kind in RANGED:
        error = max(error, unit * _OF_STEP)
    low, high = round(-limit * 2.0**frac_bits), round(limit * 2.0**frac_bits)
    kinks = [round(k / unit) for k in _kinks(kind, dict(params)) if low < round(k / unit) < high]
    if any(k % grid for k in kinks):
        raise ValueError(f"{kind} has a kink that is no multiple of {grid} units of its argument")
    knots: list[int] = []
    first, at = _first(f, low, [*kinks, high], unit, error)
    at -= at % grid
    pieces = [first]
    if at >= high:  # so little happens here that a constant would do
        at = (low + high) // 2
    while at < high:
        end = min(k for k in [*kinks, high] if k > at)
        piece, stop = _longest(f, at, end, unit, error, grid)
        if len(knots) == _MOST_KNOTS:
            raise ValueError(
                f"no spline of {_MOST_KNOTS} knots is within {error:g} of {kind} for |x| < {limit:g}; replace this "
                "site's positions, or allow a larger spline_error"
            )
        knots.append(at)
        pieces.append(piece)
        at = stop
    if max(abs(c) for piece in pieces for c in piece) >= 2**63:
        raise ValueError(
            f"coefficients of {kind} for |x| < {limit:g} have no room in 64 bits where x has {frac_bits} fractional"
        )
    edges = [low, *knots, high]
    found = [_deviation(f, piece, a, b, unit) for piece, a, b in zip(pieces, edges, edges[1:])]
    return Spline(np.array(knots, np.int64), np.array(pieces, np.int64).reshape(-1, 3), max(found))


class _Wanted:
    """A function, what its errors are relative to, the bits of its coefficients, and to how many units the end of a
    piece is looked for."""

    def __init__(self, kind: str, params: Mapping[str, float | str], limit: float, bits: int):
        self._of, self._ranged, self._params = function(kind, params), RANGED.get(kind), params
        self.limit, self.bits = limit, bits

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._of(x)

    def error(self, x: np.ndarray, y: np.ndarray) -> float:
        """The largest of values y at x."""
        exact = self._of(x)
        if self._ranged is None:
            return float(np.abs(y - exact).max())
        return float((np.abs(y - exact) / np.maximum(np.abs(exact), self._ranged.floor(**self._params))).max())

    def units(self, unit: float) -> int:
        return 1 if self._ranged else max(1, round(_NEAR_ENOUGH * min(self.limit, WIDE) / unit))


def largest(kind: str, params: Mapping[str, float | str], bound: np.ndarray) -> np.ndarray:
    """A bound of ``|f(x)|`` for ``|x| <= bound``: all kinds are monotone but for a dip of less than 1."""
    f = function(kind, params)
    return np.maximum(np.abs(f(bound)), np.abs(f(-bound))) + 1


def roughness(knots: np.ndarray, pieces: np.ndarray, limit: int) -> tuple[float, float]:
    """Of whole numbers ``|X| <= limit``: the largest slope of a piece, and all jumps at knots together."""
    edges = [-limit, *map(int, knots), limit]
    rows = [[int(c) for c in row] for row in pieces]
    slopes = [abs(_slope(row, x)) for row, a, b in zip(rows, edges, edges[1:]) for x in (a, b)]
    jumps = [abs(_value(right, x) - _value(left, x)) for left, right, x in zip(rows, rows[1:], edges[1:-1])]
    return float(max(slopes)), float(sum(jumps))


def evaluate(knots: np.ndarray, pieces: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The spline of whole numbers, int64, modulo 2**64."""
    c0, c1, c2 = np.moveaxis(pieces[np.searchsorted(knots, x, side="right")], -1, 0)
    with np.errstate(over="ignore"):
        return (c2 * x + c1) * x + c0


def _kinks(kind: str, params: Mapping[str, float | str]) -> tuple[float, ...]:
    if kind == "hardtanh" or kind in RANGED:
        return (params["high"],) if kind == "exp" else (params["low"], params["high"])  # it goes on below
    return _KINKS.get(kind, ())


def _first(f: _Wanted, low: int, ends: list[int], unit: float, error: float) -> tuple[list[int], int]:
    """A constant from the lower end on, and how far it goes; nowhere, where the function has a slope there."""
    bits = round(-np.log2(unit))
    constant = [round(float(f(low * unit)[0]) * 2.0 ** (2 * bits + f.bits)), 0, 0]
    good, bad = low, min(ends) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if _deviation(f, constant, low, middle, unit) <= error:
            good = middle
        else:
            bad = middle
    return constant, good


def _longest(f: _Wanted, start: int, end: int, unit: float, error: float, grid: int) -> tuple[list[int], int]:
    """The longest piece from ``start`` on, at most to ``end``, and where it stops; all are multiples of ``grid``."""
    best, good, bad = None, start, end + 1
    while bad - good > max(1 if best is None else f.units(unit), grid):
        middle = end if best is None and bad == end + 1 and good == start else (good + bad) // 2
        middle = max(middle - middle % grid, good + grid)
        piece = _piece(f, start, middle, unit)
        if _deviation(f, piece, start, middle, unit) <= error:
            best, good = piece, middle
            if middle == end:
                break
        else:
            bad = middle
    if best is None:  # one step of the argument
        good = start + grid
        best = _piece(f, start, good, unit)
        if grid > 1 and _deviation(f, best, start, good, unit) > error:
            raise ValueError(f"a piece of {grid} units of the argument is off by more than {error:g}")
    return best, good


def _piece(f: _Wanted, start: int, stop: int, unit: float) -> list[int]:
    """Coefficients from the Chebyshev nodes between the ends, or all arguments that there are, rounded from the highest
    power down."""
    bits = round(-np.log2(unit))
    middle, half = (start + stop) / 2 * unit, max((stop - start) / 2 * unit, unit / 2)
    few = stop - start <= _FEW
    x = np.arange(start, stop) * unit if few else middle + half * np.cos(np.pi * (np.arange(9) + 0.5) / 9)
    left = f(x)
    found = [0, 0, 0]
    for power in range(min(2, len(x) - 1), -1, -1):
        basis = np.polynomial.chebyshev.chebvander((x - middle) / half, power)
        lead = float(np.linalg.lstsq(basis, left, rcond=None)[0][-1]) * (2 ** (power - 1) if power else 1)
        exponent = f.bits + (2 - power) * bits
        found[power] = round(lead / half**power * 2.0**exponent)
        left = left - found[power] * 2.0**-exponent * x**power
    return found


def _deviation(f: _Wanted, piece: list[int], start: int, stop: int, unit: float) -> float:
    bits = round(-np.log2(unit))
    if start < stop <= start + _SAMPLES:
        x = np.arange(start, stop) * unit
    else:
        x = np.linspace(start * unit, stop * unit, _SAMPLES)
    if stop - start > _SAMPLES / unit:  # most of the bend is near zero
        x = np.concatenate([x, np.clip(np.linspace(-16, 16, 8 * _SAMPLES), start * unit, stop * unit)])
    y = sum(c * 2.0 ** -(f.bits + (2 - k) * bits) * x**k for k, c in enumerate(piece))
    return f.error(x, y)


def _value(piece: list[int], x: int) -> int:
    return piece[0] + piece[1] * x + piece[2] * x * x


def _slope(piece: list[int], x: int) -> int:
    return piece[1] + 2 * piece[2] * x
