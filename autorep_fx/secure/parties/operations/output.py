"""The output on its masked wire: truncated like any other (activation.py), at the server and at the client."""

from __future__ import annotations

import numpy as np

from ...correlations.prepared import Shares
from ...plan.plan import Step
from ...plan.ring import kernel
from ..talk import Exchange


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange,
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """See parties/table.py. Truncation is exact up to one unit of 2**-f, unbiased, and never wraps."""
    powers = {"alpha": shares["alpha"], "beta": shares["beta"]}
    return kernel().activation_step(m, shift=step.attrs["shift"], align=0, party=party, sub=sub, **powers)
