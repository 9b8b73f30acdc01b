"""Pseudo-random streams. `G_blocks_per_s`: AES blocks."""

import numpy as np
import pytest
from rows import SIZES, TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference

SEED = bytes(range(16))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("row", [*TIERS, "numpy PCG64", "memory copy"])
def test_prg(benchmark, measure, one_thread, rng, n, row):
    if row == "portable" and n > 2**20:
        pytest.skip("slow")
    benchmark.group = f"prg_words n={n}"
    if row == "memory copy":
        measure(np.copyto, np.empty(n, np.uint64), rng.integers(0, 2**64, n, dtype=np.uint64), n=n, moved=16 * n)
    elif row == "numpy PCG64":  # not a generator for secrets: a yardstick
        measure(lambda: rng.bytes(8 * n), n=n, moved=8 * n)
    else:
        with kernels.use(tier=row):
            got = measure(lambda: kernels.prg_words(SEED, 1, n), n=n, moved=8 * n, tier=row)
        np.testing.assert_array_equal(got[:64], reference.prg_words(SEED, 1, 64))
        benchmark.extra_info["G_blocks_per_s"] = round(n / 2 / benchmark.stats["median"] / 1e9, 3)
