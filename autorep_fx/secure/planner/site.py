"""The polynomials of one site in the ring: completed squares, lines, and what each needs.

A replaced position computes ``c2 x**2 + c1 x + c0``. With ``g`` factor bits, ``c2`` is rounded to a multiple of 2**-g
first. Where that is not zero the position takes the completed square

    c2' (x + o)**2 + e,   o = c1 / (2 c2') rounded to the wire's exponent,   e = c0 - c2' o**2 ;

the rounding of ``c2`` then counts times x**2 only, never times o**2: |error| <= 2**-(g+1) R**2 for |x| <= R. ``c2``
may be negative. A vertex far out costs nothing: the square is only ever needed modulo 2**64, and what the truncation
of ``x`` by u = 2**-f adds is 2 |c2' (x + o)| u = |2 c2' x + c1| u, the slope of the polynomial. Where ``c2`` rounds to
zero the position is a line ``c1 x + c0`` and needs no square; which channels those are is public.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...errors import CompileError
from ...text import brief
from ..program.kinds import EXACT
from ..program.program import Program, Step

#: Two units of a truncated value, as a part of the site's largest input.
_VAIN = 2.0**-13


@dataclass(frozen=True)
class Rounded:
    """A site's numbers for given exponents, by channel.

    Attributes:
        square: which channels take a square.
        factor: c2' or c1', multiples of 2**-factor_bits.
        offset: o, zero for lines.
        constant: e, or c0 for lines.
    """

    square: np.ndarray
    factor: np.ndarray
    offset: np.ndarray
    constant: np.ndarray

    __repr__ = brief


@dataclass(frozen=True)
class Site:
    """Public shape and private coefficients of one hybrid activation.

    Attributes:
        name: the step's.
        kind: what the kept positions compute.
        slope: of leaky ReLU.
        params: of what is kept as a spline; None where that is a ReLU of some kind.
        kept, replaced: positions in a flattened sample, increasing.
        per_channel: positions of one channel.
        coeffs: (3, C), ``coeffs[k]`` multiplies ``x**k``; zeros where nothing is replaced.
        reach: (C,), the largest input of each channel.
        unit: whether every square and line has the factor 1, and needs no map behind it (fold_squares.py).
        lifts: (C,), bits by which the results of kept positions are shifted up; None: not at all.
    """

    name: str
    kind: str
    slope: float
    kept: np.ndarray
    replaced: np.ndarray
    per_channel: int
    coeffs: np.ndarray
    reach: np.ndarray
    params: Mapping[str, float | str] | None = None
    unit: bool = False
    lifts: tuple[int, ...] | None = None

    __repr__ = brief

    @cached_property
    def replaced_channels(self) -> np.ndarray:
        """In which there are replaced positions, increasing."""
        return np.unique(self.replaced // self.per_channel)

    @property
    def sloped(self) -> bool:
        """Whether positions are kept that have a slope below zero, which all know."""
        return len(self.kept) > 0 and self.params is None and EXACT[self.kind].slope == "public"

    __repr__ = brief

    def round(self, factor_bits: int, offset_bits: int) -> Rounded:
        c0, c1, c2 = self.coeffs
        scale = 2.0**factor_bits
        factor = np.rint(c2 * scale) / scale
        square = factor != 0
        offset = np.where(square, c1 / (2 * np.where(square, factor, 1)), 0)
        offset = np.ldexp(np.rint(np.ldexp(offset, offset_bits)), -offset_bits)
        constant = c0 - factor * offset**2
        return Rounded(square, np.where(square, factor, np.rint(c1 * scale) / scale), offset, constant)

    def by_position(self, channels: np.ndarray) -> np.ndarray:
        """Per-channel numbers, one for each replaced position."""
        return channels[self.replaced // self.per_channel]


def site_of(program: Program, step: Step, reach: np.ndarray) -> Site:
    """Read a lowered hybrid step whose channels' inputs reach ``reach`` (C,).

    Raises:
        CompileError: a degree above 2.
    """
    a, secrets = step.attrs, program.secrets(step)
    kept, replaced = a["kept"].numpy(), a["replaced"].numpy()
    if len(replaced) and a["degree"] > 2:
        raise CompileError(f"site '{step.name}' has polynomials of degree {a['degree']}; the native backend runs "
                           "degree 1 and 2: transform the model with degree=2, or use backend='crypten'")  # fmt: skip
    coeffs = np.zeros((3, step.shape[0]))
    if len(replaced):
        coeffs[: a["degree"] + 1] = secrets["coeffs"].numpy()
        if "unit" not in a:
            coeffs = _without_vain_squares(coeffs, reach, float(reach.max()))
    return Site(step.name, a["kind"], float(a.get("slope", 0.0)), kept, replaced, a["per_channel"], coeffs, reach,
                a.get("params"), "unit" in a, a.get("lifts"))  # fmt: skip


def _without_vain_squares(coeffs: np.ndarray, reach: np.ndarray, largest: float) -> np.ndarray:
    """Lines in place of squares that bend by less than the truncation of their input errs: by u times the slope.

    In a channel whose inputs are tiny beside its site's, ``c2`` is large and the truncated ``x`` hardly a number: its
    square would err more than it says. The line runs through the middle of the bend, ``|c2| R**2 / 2`` from either end.
    """
    c0, c1, c2 = coeffs
    bend = c2 * reach**2
    vain = np.abs(bend) <= _VAIN * largest * (np.abs(2 * c2 * reach) + np.abs(c1))
    return np.stack([np.where(vain, c0 + bend / 2, c0), c1, np.where(vain, 0.0, c2)])
