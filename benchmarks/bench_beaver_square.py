"""CrypTen's square (opened Beaver value, product, truncation): one fused pass against torch int64 operations.

Bytes count every array once: three read (epsilon, r, r2) and one written.
"""

import numpy as np
import pytest
from rows import SIZES, TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference

FRAC_BITS = 16
ROWS = [*TIERS, "torch int64", "numpy", "memory copy"]


def inputs(rng, n):
    return [rng.integers(0, 2**64, n, dtype=np.uint64) for _ in range(3)]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("row", ROWS)
def test_beaver_square(benchmark, measure, one_thread, rng, n, row):
    benchmark.group = f"beaver_square n={n}"
    e, r, r2 = inputs(rng, n)
    want = reference.beaver_square(e, r, r2, frac_bits=FRAC_BITS, party=0)
    if row == "memory copy":
        source, target = np.concatenate([e, r, r2]), np.empty(3 * n, np.uint64)
        measure(np.copyto, target, source, n=n, moved=48 * n)
        return
    if row == "torch int64":
        torch = pytest.importorskip("torch")
        te, tr, tr2 = (torch.from_numpy(a.view(np.int64)) for a in (e, r, r2))

        def square():
            v = tr2 + 2 * tr * te + te * te
            return v.div_(2**FRAC_BITS, rounding_mode="trunc")

        got = measure(square, n=n, moved=32 * n).numpy().view(np.uint64)
    elif row == "numpy":
        got = measure(
            lambda: reference.beaver_square(e, r, r2, frac_bits=FRAC_BITS, party=0), n=n, moved=32 * n, rounds=5
        )
    else:
        out = np.empty_like(e)
        with kernels.use(tier=row):
            got = measure(
                lambda: kernels.beaver_square(e, r, r2, frac_bits=FRAC_BITS, party=0, out=out),
                n=n, moved=32 * n, tier=row,
            )  # fmt: skip
    np.testing.assert_array_equal(got, want)
