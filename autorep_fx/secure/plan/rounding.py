"""How a masked wire is truncated in the fixed-point model (simulate.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...text import brief
from .plan import Step
from .ring import elements, signed

#: By how many units a truncated value is off from the exact one at most, whichever way it is truncated.
MOST_UNITS = 1.5

#: Deep networks: a bound that says nothing, but stays a number where it is squared.
NO_BOUND = 1e100

#: Elements that are treated at once where nobody wants a bound: memory that is used again is much quicker than new one.
AT_ONCE = 2**19


@dataclass(frozen=True)
class Rounding:
    """What becomes of the bits that a truncation drops; the two ways have the same bound.

    By masks of which the dealer knows all bits: the floor, or one more with the probability that the dropped bits say
    (variance 1/6 of a unit on average, off by less than one). By halves of a mask whose low bits nobody puts
    together: to the nearest, once a number is added that is the difference of two uniform ones (variance 1/4, off by up
    to 1.5 units).

    Attributes:
        nearest: the second way, of two without a dealer.
        rng: where draws come from. None: the floor, the nearest.
        single: layers' sums in float32, off by 2**-24 of their size, where sums of a ring are exact: of what a
            truncation leaves that is little where the network itself is computed in float32.
    """

    nearest: bool = False
    rng: np.random.Generator | None = None
    single: bool = False

    __repr__ = brief

    def added(self, shift: int, shape: tuple[int, ...]) -> np.ndarray | int:
        """What is added before ``shift`` bits (one at least) are dropped."""
        half = 1 << (shift - 1) if self.nearest else 0
        if self.rng is None:
            return half
        drawn = self.rng.integers(0, 2**shift, shape)
        return drawn - self.rng.integers(0, 2**shift, shape) + half if self.nearest else drawn


def truncate(y: np.ndarray, error: np.ndarray, shift: int, rounding: Rounding) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers and the bound of what they are off by, from that of y."""
    y = signed(y)
    if not shift:
        return y, error
    y = y + rounding.added(shift, y.shape)
    y >>= np.int64(shift)
    if rounding.rng is not None:
        return y, no_bound(y)
    return y, np.ldexp(error, -shift) + np.where(error > 0, 2.0, 1.0)


def no_bound(y: np.ndarray) -> np.ndarray:
    """In place of a bound, where there is a draw and nobody wants one: zeros that take no memory."""
    return np.broadcast_to(0.0, y.shape)


def in_ring(step: Step, value: np.ndarray) -> np.ndarray:
    """Whole numbers as elements of the ring of the step's result."""
    return value.astype(elements(step.width))
