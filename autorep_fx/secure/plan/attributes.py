"""What attributes of a plan's steps may be, as far as several operations have them."""

from __future__ import annotations

import math

import numpy as np

from ..program import checks
from ..program.checks import Check, several, whole
from ..program.shapes import LARGEST
from .ring import WIDTHS

BITS = whole(0, 63)
WIDTH = Check("32 or 64", lambda v, _: type(v) is int and v in WIDTHS)
SHIFT = whole(0, 62)
EXPONENT = whole(0, 1000)  # of tiny numbers it is beyond 64: only products with what is large must fit the ring
FACTOR = Check("an integer of 63 bits and a sign", lambda v, _: type(v) is int and abs(v) < 2**63)
WEIGHT = several(whole(1, LARGEST), 1, 4)
KEPT = checks.POSITIONS._replace(holds=lambda v, s: type(v) is np.ndarray and checks.POSITIONS.holds(v, s))
MASK = Check(
    "a boolean mask of the sample, or nothing",
    lambda v, s: v is None or type(v) is np.ndarray and v.dtype == bool and v.shape == (math.prod(s),),
)
