"""Bit-sliced comparison: one party's local work for the sign of 20-bit windows, from m to the share of the sign bit.

All of it is timed: packing, leaves, five levels of the tree (own message and merge), and the selection afterwards. The
messages of the other party are random words, which cost the same.
"""

import numpy as np
import pytest
from rows import TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference

BITS, SHIFT = 20, 18
ROWS = [*TIERS, "numpy", "memory copy"]


def inputs(rng, n):
    words = (n + 63) // 64

    def plane(shape):
        return rng.integers(0, 2**64, shape, dtype=np.uint64)

    levels, nodes = [], BITS - 1
    while nodes > 1:
        pairs = nodes // 2
        levels.append([plane((rows, words)) for rows in (pairs, 2 * pairs - 1, 2 * pairs - 1, 3 * pairs - 1)])
        nodes = (nodes + 1) // 2
    select = [plane(n) for _ in range(3)] + [plane(n).astype(np.uint32) for _ in range(2)]
    return plane(n), plane((BITS, words)), levels, plane(words), select


def compare(module, m, r_planes, levels):
    planes = module.pack_bits(m, shift=SHIFT, bits=BITS)
    g, p = module.borrow_bits(planes[:-1], r_planes[:-1], party=0)
    for a, b, c, received in levels:
        message = module.carry_open(g, p, a, b)
        g, p = module.carry_close(g, p, message, received, a, b, c, party=0)
    return r_planes[-1] ^ g[0] ^ ~planes[-1]


@pytest.mark.parametrize("n", [2**12, 2**16, 2**19])
@pytest.mark.parametrize("row", ROWS)
def test_sign(benchmark, measure, one_thread, rng, n, row):
    benchmark.group = f"bit-sliced sign, {BITS} bits, n={n}"
    if row == "memory copy":
        source = rng.integers(0, 2**64, n, dtype=np.uint64)
        measure(np.copyto, np.empty_like(source), source, n=n, moved=16 * n)
        return
    m, r_planes, levels, _, _ = inputs(rng, n)
    if row == "numpy":
        if n > 2**16:
            pytest.skip("slow")
        got = measure(lambda: compare(reference, m, r_planes, levels), n=n, rounds=3, iterations=1)
    else:
        with kernels.use(tier=row):
            got = measure(lambda: compare(kernels, m, r_planes, levels), n=n, tier=row)
    if n <= 2**16:
        np.testing.assert_array_equal(got, compare(reference, m, r_planes, levels))
    benchmark.extra_info["M_per_s"] = round(n / benchmark.stats["median"] / 1e6, 1)


@pytest.mark.parametrize("n", [2**16, 2**19])
@pytest.mark.parametrize("row", [*TIERS, "numpy"])
@pytest.mark.parametrize("width", [64, 32])
def test_select(benchmark, measure, one_thread, rng, n, row, width):
    """width: of the masked wire and of the result."""
    benchmark.group = f"select n={n}"
    m, _, _, v, shares = inputs(rng, n)
    m, u, ua, alpha = (a.astype(f"u{width // 8}") for a in (m, *shares[:3]))
    ub, beta = (a.astype(f"u{width // 16}") for a in shares[3:])
    shift = min(SHIFT, width // 2)
    want = reference.select(m, v, u, ua, ub, alpha, beta, shift=shift, party=0)
    module = reference if row == "numpy" else kernels
    with kernels.use(tier=None if row == "numpy" else row):
        got = measure(
            lambda: module.select(m, v, u, ua, ub, alpha, beta, shift=shift, party=0), n=n, moved=3 * width // 4 * n,
            tier=row,
        )  # fmt: skip
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("threads", [1, 2])
def test_sign_threads(benchmark, measure, one_thread, rng, threads):
    n = 2**18
    benchmark.group = f"bit-sliced sign n={n}, threads"
    m, r_planes, levels, _, _ = inputs(rng, n)
    with kernels.use(threads=threads):
        measure(lambda: compare(kernels, m, r_planes, levels), n=n, threads=threads)
