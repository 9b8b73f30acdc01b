"""Encoding float32 into the ring and back, against NumPy."""

import numpy as np
import pytest
from rows import SIZES, TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("row", [*TIERS, "numpy"])
@pytest.mark.parametrize("what", ["encode", "decode"])
def test_fixed_point(benchmark, measure, one_thread, rng, n, row, what):
    benchmark.group = f"{what} float32 n={n}"
    x = rng.normal(0, 3, n).astype(np.float32)
    v = reference.encode(x, 16)
    module = reference if row == "numpy" else kernels
    with kernels.use(tier=None if row == "numpy" else row):
        if what == "encode":
            got = measure(lambda: module.encode(x, 16), n=n, moved=12 * n, tier=row)
            np.testing.assert_array_equal(got, v)
        else:
            got = measure(lambda: module.decode(v, 16, dtype="float32"), n=n, moved=12 * n, tier=row)
            assert np.abs(got - x).max() <= 2.0**-17 * 1.01
