"""What is dealt for a product of two private values (parties/operations/product.py)."""

from __future__ import annotations

import numpy as np

from .....kernels.masked import truncated_mask
from ....correlations.stream import Stream
from ....parties.operations.product import PAIRS, factors
from ....plan.plan import Step
from ....plan.ring import elements
from ..dealing import Dealing
from ..own import Own


def _deal(
    step: Step, index: int, r: np.ndarray, client: Own, server: Stream, public: Stream
) -> tuple[np.ndarray, None]:
    """r: (N, P1 + P2), the masks of both wires."""
    buffer, mine = client.shares(step, index, len(r))
    ring = elements(step.width)
    halves = [
        {key: true.astype(ring) for key, true in zip("ab", truncated_mask(part, shift))}
        for part, shift in zip(factors(step, r), step.attrs["shift"])
    ]
    for name, key in (("alpha", "a"), ("beta", "b")):
        true = np.concatenate([half[key].reshape(len(r), -1) for half in halves], 1)
        np.subtract(true, mine[name], out=mine[name])
    for pair in PAIRS:
        true = (halves[0][pair[0]] * halves[1][pair[1]]).reshape(len(r), -1)
        np.subtract(true, mine[pair], out=mine[pair])
    return buffer, None


DEALING = Dealing(_deal)
