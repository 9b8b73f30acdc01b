"""The matrix product of two private tensors (attention). No message beyond those of the two wires.

Both wires are sent as one, ``m = (m1, m2)``, ``m_i = z_i + r_i``, untruncated, so that all of it is exact in the ring:

    z1 z2 = m1 m2 - m1 [r2] - [r1] m2 + [r1 r2]

The dealer shares, for a batch of N, elements P1 and P2 of the two and P of the product: ``r`` (N, P1 + P2) and
``product`` (N, P), to the server; the client's half comes from its seed. Online, P1 + P2 elements go to the client and
P come back: 2 rounds one way, as of any activation. What is opened is uniform: every mask is used once. Source: Beaver,
"Efficient multiparty protocols using circuit randomization" (CRYPTO 1991), with masks that are there already.
"""

from __future__ import annotations

import numpy as np

from ...correlations.prepared import Shares
from ...plan.plan import Step
from ...plan.ring import elements, matmul
from ..talk import Exchange
from .product import factors


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange,
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """See parties/table.py. m: (N, P1 + P2)."""
    m1, m2 = factors(step, m.astype(elements(step.width), copy=False))
    r1, r2 = factors(step, shares["r"])
    # One product, (m1, r1) times what stands below each other; the client has no m1 m2.
    right = np.concatenate([m2 - r2 if party == 0 else -r2, -m2], -2)
    out = matmul(np.concatenate([m1, r1], -1), right).reshape(len(m), -1)
    out += shares["product"]
    if sub is not None:
        out -= sub
    return out
