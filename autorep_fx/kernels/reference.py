"""NumPy versions of the compiled kernels: the same signatures, the same results bit for bit, written to be read.

They are what the kernels are tested against, and say in a few lines what each one computes. They are slow, and neither
check their arguments nor keep secrets from the timing.
"""

from __future__ import annotations

import numpy as np

U64 = np.uint64


def beaver_square(epsilon, r, r2, offset=None, *, frac_bits, party, out=None):
    epsilon = np.asarray(epsilon)
    e, r, r2 = (np.asarray(a).view(U64) for a in (epsilon, r, r2))
    v = r2 + U64(2) * e * r
    if party == 0:
        v = v + e * e
    s = v.view(np.int64)
    low = np.int64((1 << frac_bits) - 1)
    q = ((s + np.where(s < 0, low, np.int64(0))) >> np.int64(frac_bits)).view(U64)
    if offset is not None:
        q = q + np.asarray(offset).view(U64)
    return _deliver(q.view(epsilon.dtype), out)


def _deliver(result, out):
    """The result, written into `out` where one was given."""
    if out is None:
        return result
    out[...] = result.view(out.dtype)
    return out
