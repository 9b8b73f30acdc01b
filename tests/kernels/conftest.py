"""Fixtures shared by the kernel tests: every tier of this machine, edge values, sizes around the vector lengths."""

import numpy as np
import pytest
from kernel_cases import EDGES

from autorep_fx import kernels


def pytest_collection_modifyitems(items):
    if not kernels.available():
        for item in items:
            if "tests/kernels" in str(item.path) and "without_extension" not in item.name:
                item.add_marker(pytest.mark.skip(reason="the compiled kernels are not built"))


def pytest_generate_tests(metafunc):
    if "tier" in metafunc.fixturenames:
        metafunc.parametrize("tier", kernels.available_tiers() if kernels.available() else ["none"], indirect=True)


@pytest.fixture
def tier(request):
    with kernels.use(tier=request.param):
        yield request.param


@pytest.fixture
def ring():
    """ring(shape): random ring elements from a fixed seed, every edge value among the first of them."""
    rng = np.random.default_rng(0)

    def make(shape):
        a = rng.integers(0, 2**64, size=shape, dtype=np.uint64)
        flat = a.reshape(-1)
        pick = rng.permutation(EDGES)[: flat.size]
        flat[: pick.size] = pick
        return a

    return make
