"""Which arrays a step needs to be evaluated, in names and sizes, whoever makes them; each party has a share of each.

What each one holds is said where its operation is: plan/operations/.
"""

from __future__ import annotations

import math

import numpy as np

from ..plan import wire
from ..plan.operation import Arrays
from ..plan.plan import Step
from ..plan.ring import elements, kernel
from ..plan.table import OPERATIONS

#: Array name -> (shape, dtype).
Layout = Arrays


def layout(step: Step, batch: int) -> Layout:
    """The arrays that are shared for a masked step; none for any other."""
    arrays = OPERATIONS[step.op].arrays
    return {} if arrays is None else arrays(step, batch)


def whole(step: Step, batch: int) -> Layout:
    """The same in a checked plan: all arrays in the ring of the result, none by halves."""
    ring = elements(step.width).type
    return {name: (shape, ring) for name, (shape, _) in layout(step, batch).items()}


def words(found: Layout) -> int:
    return sum(array_words(*entry) for entry in found.values())


def views(buffer: np.ndarray, found: Layout) -> dict[str, np.ndarray]:
    """Names for the parts of one contiguous buffer of words."""
    parts: dict[str, np.ndarray] = {}
    at = 0
    for name, (shape, dtype) in found.items():
        size = array_words(shape, dtype)
        count = math.prod(shape)
        parts[name] = buffer[at : at + size].view(dtype)[:count].reshape(shape)
        at += size
    return parts


def array_words(shape: tuple[int, ...], dtype: type) -> int:
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // 8)


def key_words(step: Step, batch: int, checked: bool = False) -> int:
    """Length of the comparison key that both parties get; 0 without one. Of a checked plan it has tags, too."""
    n = wire.compared(step, batch)
    if not n or step.attrs["comparison"] != "fss":
        return 0
    payloads = 1 if "knots" in step.attrs else 3
    width = 64 if checked else step.width
    payloads *= 2 if checked else 1
    return kernel().dcf_words(n, bits=step.attrs["window"] - 1, payloads=payloads, payload_bits=width)
