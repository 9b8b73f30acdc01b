"""Comparison keys: making and evaluating them, in elements a second (`M_per_s` in extra_info), one thread and two."""

import numpy as np
import pytest
from rows import TIERS

from autorep_fx import kernels

HASH_KEY = bytes(range(16))


def inputs(rng, n, bits, payloads, width):
    def words(*shape):
        return rng.integers(0, 2**64, shape, dtype=np.uint64)

    alpha, x = words(2, n) >> np.uint64(64 - bits)
    return alpha, x, words(n, payloads).astype(f"u{width // 8}"), words(n, 2), words(n, 2)


@pytest.mark.parametrize("n", [2**10, 2**14, 2**18])
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("what", ["gen", "eval"])
@pytest.mark.parametrize("bits, payloads, width", [(19, 3, 64), (19, 1, 64), (63, 3, 64), (19, 3, 32), (13, 3, 32),
                                                   (13, 6, 64)])  # fmt: skip
def test_dcf(benchmark, measure, one_thread, rng, n, tier, what, bits, payloads, width):
    run(benchmark, measure, rng, n, tier, what, bits, payloads, width, 1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", ["gen", "eval"])
def test_dcf_threads(benchmark, measure, one_thread, rng, what, threads):
    run(benchmark, measure, rng, 2**15, TIERS[-1], what, 19, 3, 64, threads, rounds=30)


def run(benchmark, measure, rng, n, tier, what, bits, payloads, width, threads, rounds=7):
    if tier == "portable" and n > 2**14:
        pytest.skip("minutes")
    name = f"{what}_dcf bits={bits} payloads={payloads}x{width} n={n}"
    benchmark.group = name + (" threads" if rounds > 7 else "")
    alpha, x, payload, r0, r1 = inputs(rng, n, bits, payloads, width)
    key = kernels.gen_dcf(alpha, payload, r0, r1, bits=bits, hash_key=HASH_KEY)
    iterations = 1 if n > 2**14 or tier == "portable" else 2**15 // n
    timed = dict(n=n, moved=key.nbytes, tier=tier, threads=threads, rounds=rounds, iterations=iterations)
    with kernels.use(tier=tier, threads=threads):
        if what == "gen":
            got = measure(lambda: kernels.gen_dcf(alpha, payload, r0, r1, bits=bits, hash_key=HASH_KEY), **timed)
            np.testing.assert_array_equal(got, key)
        else:
            mine = measure(lambda: kernels.eval_dcf(key, r0, x, party=0), **timed)
            got = mine + kernels.eval_dcf(key, r1, x, party=1)
            np.testing.assert_array_equal(got, payload * (x < alpha)[:, None].astype(payload.dtype))
    benchmark.extra_info["M_per_s"] = round(n / benchmark.stats["median"] / 1e6, 2)
