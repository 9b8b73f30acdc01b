"""Functions that are no activations: they are called on many octaves, so that their error is relative to them.

They are what normalisation and attention divide by. A step of one is a site that keeps all its positions and has no
polynomials; it is computed as a quadratic spline (spline.py), whose knots lie in geometric progression by themselves.
What they are called on is known from examples (planner/ranged_arguments.py): elsewhere they stay what they are at its
end, so that an input that is not like the examples is answered less exactly, and nothing leaves its room.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...text import brief


@dataclass(frozen=True)
class Ranged:
    """One function.

    Attributes:
        of: an array of torch, and ``low`` and ``high``, where it ends.
        floor: below which a result counts as large as this, of ``low`` and ``high``.
        power: ``of(2**k x)`` is ``2**(power k) of(x)``; None where it is not.
    """

    of: Callable[..., Any] = field(repr=False)
    floor: Callable[..., float] = field(repr=False)
    power: float | None = None

    __repr__ = brief


RANGED = {
    "exp": Ranged(lambda x, low, high: x.clamp(max=high).exp(), lambda low, high: math.exp(low)),
    "rsqrt": Ranged(lambda x, low, high: x.clamp(low, high).rsqrt(), lambda low, high: 0.0, -0.5),
    "reciprocal": Ranged(lambda x, low, high: x.clamp(low, high).reciprocal(), lambda low, high: 0.0, -1.0),
}
