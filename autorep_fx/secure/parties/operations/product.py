"""The product of two private tensors, both on masked wires (gates). No message beyond those of the two wires.

Both wires are sent as one: ``m = (m1, m2)``, ``m_i = y_i + r_i``, each with a shift t_i and an exponent of its own.

1. As in a truncation: ``x_i = y_i >> t_i = mx_i - (alpha_i - mu_i beta_i)``, ``mx_i`` and ``mu_i`` public.
2. ``x1 x2 = mx1 mx2 - mx1 [rx2] - mx2 [rx1] + [rx1 rx2]`` with ``[rx_i] = [alpha_i] - mu_i [beta_i]`` and
   ``[rx1 rx2] = [alpha1 alpha2] - mu2 [alpha1 beta2] - mu1 [beta1 alpha2] + mu1 mu2 [beta1 beta2]``.

x1 and x2 broadcast against each other (same number of axes): what has (C, 1, 1) is masked and dealt once a channel.

The dealer shares, for a batch of N, elements P1 and P2 of the two and P of the product: ``alpha``, ``beta`` (N, P1 +
P2) and ``aa``, ``ab``, ``ba``, ``bb`` (N, P), 8 bytes each to the server, the client's half from its seed. Online 8
bytes for each of P1 + P2 to the client, 8 for each of P back: 2 rounds one way, as of any activation. Exact product of
the truncated values, each of which is up to one unit above the floor, unbiased. What is opened is uniform: every mask
is used once. Source: docs/protocol.md, "Products of two private tensors".
"""

from __future__ import annotations

import numpy as np

from ....kernels.masked import truncated
from ...correlations.prepared import Shares
from ...plan.plan import Step
from ...plan.ring import elements
from ..talk import Exchange

#: Names of the dealt products: first letter of the first factor's half, of the second's.
PAIRS = ("aa", "ab", "ba", "bb")


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange,
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """See parties/table.py. m: (N, P1 + P2)."""
    ring = elements(step.width)
    x, mu = zip(*(truncated(part, shift, ring) for part, shift in zip(factors(step, m), step.attrs["shift"])))
    r = [a - u * b for a, b, u in zip(factors(step, shares["alpha"]), factors(step, shares["beta"]), mu)]
    aa, ab, ba, bb = (shares[pair].reshape(len(m), *step.shape) for pair in PAIRS)
    out = aa - mu[1] * ab
    out -= mu[0] * (ba - mu[1] * bb)
    out -= x[0] * r[1]
    out -= x[1] * r[0]
    if party == 0:
        out += x[0] * x[1]
    out = out.reshape(len(m), -1)
    if sub is not None:
        out -= sub
    return out


def factors(step: Step, wires: np.ndarray) -> list[np.ndarray]:
    """Both factors' parts of (N, P1 + P2), each shaped to broadcast."""
    first, second = step.attrs["first"], step.attrs["second"]
    at = int(np.prod(first, dtype=np.int64))
    return [wires[:, :at].reshape(len(wires), *first), wires[:, at:].reshape(len(wires), *second)]
