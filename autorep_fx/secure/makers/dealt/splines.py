"""What is dealt for the kept positions of a site that are splines (parties/splines.py)."""

from __future__ import annotations

import numpy as np

from ....kernels.masked import truncated_mask
from ...correlations.prepared import Shares
from ...plan.plan import Step
from ...plan.ring import U64, elements


def deal_(step: Step, r: np.ndarray, a: np.ndarray, mine: Shares) -> None:
    """The dealer's half: one party's shares become the other's.

    r: (n,), masks of the kept positions. a: (1 or 2, n), the masks of the opening, of which each party knows a half.
    """
    alpha, beta = (true.astype(elements(step.width)) for true in truncated_mask(r, step.attrs["shift"]))
    two = alpha.dtype.type(2)
    for name, factor in (("a_alpha", alpha), ("a_beta", beta)):
        np.subtract(a * factor, mine[name], out=mine[name])
    if "a_alpha2" in mine:
        for name, factor in (("a_alpha2", alpha * alpha), ("a_ab", two * alpha * beta - beta * beta)):
            np.subtract(a[1] * factor, mine[name], out=mine[name])


def deal_high_(r_window: np.ndarray, bits: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(alpha, payload) of the comparison keys; ``share``, one party's shares of rh, becomes the other's."""
    high = (r_window >> U64(bits - 1)).astype(share.dtype)
    np.subtract(high, share, out=share)
    return r_window & U64((1 << (bits - 1)) - 1), (high + high - share.dtype.type(1))[:, None]
