"""How each operation is evaluated on its masked wires, online."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..correlations.prepared import Shares
from ..plan.plan import Step
from ..program.collected import collected
from . import operations
from .talk import Exchange

EVALUATE: dict[str, Callable[..., np.ndarray]] = {name: found.evaluate for name, found in collected(operations).items()}


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange,
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """This party's share of the result of a masked step, less ``sub``; (N, P), exponent ``step.frac_bits``.

    Args:
        m: (N, elements of a sample on the wires), what was opened.
        party: 0 is the server, which adds the public terms.
        exchange: for what both say at once in the middle of the step.
    """
    return EVALUATE[step.op](step, m, shares, party=party, exchange=exchange, sub=sub)
