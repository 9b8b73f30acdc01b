"""What no input of the range exceeds in the ring: interval arithmetic over the chosen exponents, roundings included.

Every bound is on the absolute value of a result as it is computed: with weights rounded to their bits, constants and
the input to half a unit of their exponents, and truncated values up to one unit and a half off, as they may be without
a dealer. What a float64 sum of positive terms may itself be off is covered by ``_SLACK``.
"""

from __future__ import annotations

import numpy as np

from .planned import Chosen
from .table import PLANNED

_SLACK = 1 + 2.0**-24


def raise_to_bounds(chosen: Chosen) -> bool:
    """Raise every wire's reach to its bound, for the exponents that are chosen; False where none was below it."""
    raised = False
    bounds: dict[str, np.ndarray] = {}
    for node in chosen.nodes.values():
        found = PLANNED[node.op].bound(chosen, node, [bounds[name] for name in node.inputs])
        bounds[node.name] = found.result * _SLACK
        if node.masked and (found.reach > node.reach or found.reach_kept > node.reach_kept):
            node.reach, node.reach_kept = max(node.reach, found.reach), max(node.reach_kept, found.reach_kept)
            raised = True
    return raised
