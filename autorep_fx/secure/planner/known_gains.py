"""Noise gains, as far as they are known: what roundings add to the output (noise_gains.py measures it)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ...text import brief

#: Variance of a rounding to the nearest, of a truncation, and of one without a dealer (plan/rounding.py), in squared
#: units.
ROUNDED, DRAWN, DRAWN_BY_TWO = 1 / 12, 1 / 6, 1 / 4


@dataclass(frozen=True)
class Gains:
    """What a rounding to whole numbers adds to the output's variance, as a part of it; 4**-f of that for f bits more.

    All are None where they are not known.

    Attributes:
        output: of truncating the output.
        drawn: variance of a truncation, in squared units.
    """

    _values: dict[str, float]
    _inputs: dict[str, list[np.ndarray]]
    _secrets: dict[tuple[str, str], np.ndarray]
    _relative: dict[str, np.ndarray]
    output: float | None
    drawn: float = DRAWN

    __repr__ = brief

    @property
    def finite(self) -> bool:
        """Whether all are numbers."""
        arrays = [*chain(*self._inputs.values()), *self._secrets.values(), *self._relative.values()]
        return all(map(math.isfinite, self._values.values())) and all(np.isfinite(found).all() for found in arrays)

    def rounded(self, name: str) -> float | None:
        """Of a value to the nearest."""
        return ROUNDED * self._values[name] if name in self._values else None

    def truncated(self, name: str) -> float | None:
        """Of a value, drawn."""
        return self.drawn * self._values[name] if name in self._values else None

    def site(self, name: str) -> np.ndarray | None:
        """Of what a site reads, drawn, by position (P,)."""
        return self.drawn * self._inputs[name][0] if name in self._inputs else None

    def product(self, name: str, scales: tuple[int, int]) -> float | None:
        """Of both factors, in units of 2**scale each."""
        if name not in self._inputs:
            return None
        return self.drawn * sum(4.0**scale * g.sum() for scale, g in zip(scales, self._inputs[name]))

    def weight(self, name: str, role: str) -> np.ndarray | None:
        """Of a layer's weights or factors, by output channel (C,)."""
        found = self._secrets.get((name, role))
        return None if found is None else ROUNDED * found.reshape(len(found), -1).sum(1)

    def squares(self, name: str, square: np.ndarray) -> float | None:
        """Of a site's factors (C,): of the square in the channels ``square``, of the line in the others."""
        found = self._secrets.get((name, "coeffs"))
        return None if found is None else ROUNDED * np.where(square, found[-1], found[1])

    def line(self, name: str) -> np.ndarray | None:
        """Of a site's slopes (C,)."""
        found = self._secrets.get((name, "coeffs"))
        return None if found is None else ROUNDED * found[1]

    def relative(self, name: str) -> np.ndarray | None:
        """Of factors that multiply a value, in proportion to each: of a site's result by position (P,), of a public
        factor's as a whole."""
        return ROUNDED * self._relative[name] if name in self._relative else None

    def spline(self, name: str, relative: bool) -> float | None:
        """Of an error of a site's results that is of one size everywhere, squared; or of one in proportion to them."""
        if relative:
            return float(self._relative[name].sum()) if name in self._relative else None
        return self._values.get(name)


#: Of a program that nobody looked at.
UNKNOWN = Gains({}, {}, {}, {}, None)
