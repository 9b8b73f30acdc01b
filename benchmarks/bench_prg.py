"""Pseudo-random streams: filling, and subtracting from an array in the same pass. `G_blocks_per_s`: AES blocks."""

import numpy as np
import pytest
from rows import SIZES, TIERS

from autorep_fx import kernels

SEED = bytes(range(16))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("row", [*TIERS, "numpy PCG64", "memory copy"])
@pytest.mark.parametrize("what", ["words", "sub"])
def test_prg(benchmark, measure, one_thread, rng, n, row, what):
    if row == "portable" and n > 2**20:
        pytest.skip("slow")
    benchmark.group = f"prg_{what} n={n}"
    a = rng.integers(0, 2**64, n, dtype=np.uint64)
    out = np.empty_like(a)
    moved = 8 * n if what == "words" else 16 * n
    if row == "memory copy":
        measure(np.copyto, out, a, n=n, moved=16 * n)
    elif row == "numpy PCG64":  # not a generator for secrets: a yardstick
        fill = (
            (lambda: rng.bytes(8 * n)) if what == "words" else (lambda: a - np.frombuffer(rng.bytes(8 * n), np.uint64))
        )
        measure(fill, n=n, moved=moved)
    else:
        with kernels.use(tier=row):
            if what == "words":
                measure(lambda: kernels.prg_words(SEED, 1, n, out=out), n=n, moved=moved, tier=row)
            else:
                measure(lambda: kernels.prg_sub(a, SEED, 1, out=out), n=n, moved=moved, tier=row)
                np.testing.assert_array_equal(out + kernels.prg_words(SEED, 1, n), a)
        benchmark.extra_info["G_blocks_per_s"] = round(n / 2 / benchmark.stats["median"] / 1e9, 3)
