"""How a masked wire is truncated in the fixed-point model (simulate.py)."""

from __future__ import annotations

import numpy as np

from .plan import Step
from .ring import elements, signed

#: Deep networks: a bound that says nothing, but stays a number where it is squared.
NO_BOUND = 1e100


def truncate(
    y: np.ndarray, error: np.ndarray, shift: int, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers and their bound: the floor without ``rng``, or one more at random."""
    y = signed(y)
    if not shift:
        return y, error
    up = 0 if rng is None else rng.integers(0, 2**shift, y.shape)
    return (y + up) >> np.int64(shift), np.ldexp(error, -shift) + np.where(error > 0, 2.0, 1.0)


def in_ring(step: Step, value: np.ndarray) -> np.ndarray:
    """Whole numbers as elements of the ring of the step's result."""
    return value.astype(elements(step.width))
