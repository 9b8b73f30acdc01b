"""ReLU by comparison key on 20-bit windows: windows, a party's evaluation and merge, the dealer's numbers."""

import numpy as np
import pytest
from rows import TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference

BITS, SHIFT = 20, 18
HASH_KEY = bytes(range(16))


@pytest.mark.parametrize("n", [2**12, 2**16])
@pytest.mark.parametrize("row", TIERS)
@pytest.mark.parametrize("width", [64, 32])
def test_relu_fss(benchmark, measure, one_thread, rng, n, row, width):
    """width: of the ring of the result."""
    benchmark.group = f"relu_fss n={n}"
    x = rng.integers(-(2 ** (BITS - 1)), 2 ** (BITS - 1), n)
    r = rng.integers(0, 2**BITS, n, dtype=np.uint64)
    m = (x.view(np.uint64) + r) & np.uint64(2**BITS - 1)
    roots = [rng.integers(0, 2**64, (n, 2), dtype=np.uint64) for _ in range(2)]
    one = rng.integers(0, 2**width, (n, 3), dtype=f"u{width // 8}")
    zero = one.copy()
    alpha, payload = kernels.deal_relu_(r, bits=BITS, shares=zero)
    key = kernels.gen_dcf(alpha, payload, *roots, bits=BITS - 1, hash_key=HASH_KEY)
    rounds = 3 if row == "portable" else 15
    with kernels.use(tier=row):
        z = measure(
            lambda: kernels.relu_fss(key, roots[0], m, zero, party=0), n=n, moved=key.nbytes, tier=row, rounds=rounds
        )
        z = z + kernels.relu_fss(key, roots[1], m, one, party=1)
    np.testing.assert_array_equal(z.view(f"i{width // 8}"), np.maximum(x, 0))


@pytest.mark.parametrize("n", [2**12, 2**16])
@pytest.mark.parametrize("row", TIERS)
def test_relu_checked(benchmark, measure, one_thread, rng, n, row):
    """The same with tags: party 1's evaluation, of keys of six payloads."""
    benchmark.group = f"relu_fss n={n}"
    m, shares, tags = rng.integers(0, 2**BITS, n, dtype=np.uint64), *rng.integers(0, 2**64, (2, n, 3), dtype=np.uint64)
    root, payload = rng.integers(0, 2**64, (n, 2), dtype=np.uint64), rng.integers(0, 2**64, (n, 6), dtype=np.uint64)
    alpha = m >> np.uint64(1)
    key = kernels.gen_dcf(alpha, payload, root, root, bits=BITS - 1, hash_key=HASH_KEY)
    rounds = 3 if row == "portable" else 15
    with kernels.use(tier=row):
        measure(lambda: kernels.relu_checked(key, root, m, shares, tags, party=1), n=n, moved=key.nbytes, tier=row,
                rounds=rounds)  # fmt: skip


@pytest.mark.parametrize("n", [2**16, 2**20])
@pytest.mark.parametrize("row", [*TIERS, "numpy"])
@pytest.mark.parametrize("what", ["weigh", "tag_words"])
def test_tags(benchmark, measure, one_thread, rng, n, row, what):
    benchmark.group = f"{what} n={n}"
    values = rng.integers(0, 2**64, (1, n), dtype=np.uint64)
    module = reference if row == "numpy" else kernels
    calls = {
        "weigh": lambda: module.weigh(HASH_KEY, 0, values),
        "tag_words": lambda: module.tag_words(values, 3, HASH_KEY, 0),
    }
    with kernels.use(tier=None if row == "numpy" else row):
        measure(calls[what], n=n, tier=row, rounds=3 if row == "numpy" else 15)


@pytest.mark.parametrize("n", [2**16, 2**20])
@pytest.mark.parametrize("row", [*TIERS, "numpy"])
@pytest.mark.parametrize("what", ["window", "deal_relu_", "deal_powers_"])
def test_small_steps(benchmark, measure, one_thread, rng, n, row, what):
    benchmark.group = f"{what} n={n}"
    v = rng.integers(0, 2**64, (1, n), dtype=np.uint64)
    keep = np.flatnonzero(rng.random(n) < 0.5)
    shares = rng.integers(0, 2**64, (n, 3), dtype=np.uint64)
    low = v[0] & np.uint64(2**BITS - 1)
    powers = {k: shares[:, i].copy() for i, k in enumerate(("alpha", "alpha2"))}
    powers |= {k: shares[:, 2].astype(np.uint32) for k in ("beta", "ab")}
    module = reference if row == "numpy" else kernels
    calls = {
        "window": lambda: module.window(v, keep, shift=SHIFT, bits=BITS),
        "deal_relu_": lambda: module.deal_relu_(low, bits=BITS, shares=shares),
        "deal_powers_": lambda: module.deal_powers_(v[0], shift=SHIFT, **powers),
    }
    with kernels.use(tier=None if row == "numpy" else row):
        measure(calls[what], n=n, tier=row, rounds=7)
