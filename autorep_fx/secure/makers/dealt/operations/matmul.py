"""What is dealt for a matrix product of two private tensors (parties/operations/matmul.py)."""

from __future__ import annotations

import numpy as np

from ....correlations.stream import Stream
from ....parties.operations.product import factors
from ....plan.plan import Step
from ....plan.ring import matmul, narrowed
from ..dealing import Dealing
from ..own import Own


def _deal(
    step: Step, index: int, r: np.ndarray, client: Own, server: Stream, public: Stream
) -> tuple[np.ndarray, None]:
    """r: (N, P1 + P2), the masks of both wires."""
    buffer, mine = client.shares(step, index, len(r))
    r = narrowed(r, step.width)
    r1, r2 = factors(step, r)
    np.subtract(r, mine["r"], out=mine["r"])
    np.subtract(matmul(r1, r2).reshape(len(r), -1), mine["product"], out=mine["product"])
    return buffer, None


DEALING = Dealing(_deal)
