"""Arithmetic on ring elements."""

import numpy as np
import pytest

from autorep_fx.secure.plan.ring import matmul


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize(
    "first,second",
    [((2, 3, 40, 20), (2, 3, 20, 30)), ((4, 5), (5, 6)), ((0, 40, 20), (0, 20, 30)), ((197, 64), (64, 197))],
)
def test_a_product_of_matrices_is_numpy_s_bit_for_bit(dtype, first, second):
    numbers = np.random.default_rng(0)
    x, y = (numbers.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True) for shape in (first, second))
    for a, b in ((x, y), (y.swapaxes(-1, -2), x.swapaxes(-1, -2))):
        found = matmul(a, b)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, a @ b)
