"""The activation on a masked wire (truncation, square, 2 % kept ReLUs, next blinding): one pass against torch.

Bytes count every array once: m, alpha, beta, alpha2, ab, the next mask, and the result (48 bytes an element).
"""

import numpy as np
import pytest
from rows import SIZES, TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference

SHIFT, ALIGN = 20, 12
ROWS = [*TIERS, "torch int64", "numpy", "memory copy"]


def inputs(rng, n, width=64):
    def words():
        return rng.integers(0, 2**width, (1, n), dtype=f"u{width // 8}")

    keep, half = np.flatnonzero(rng.random(n) < 0.02), f"u{width // 16}"
    args = dict(m=words(), alpha=words(), beta=words().astype(half), alpha2=words(), ab=words().astype(half))
    return dict(args, sub=words(), keep=keep, relu=words()[:, : keep.size].copy())


def torch_step(torch, a):
    """The same by torch's int64 operations, party 0."""
    t = {k: torch.from_numpy(v.view(np.int64)) for k, v in a.items() if k not in ("beta", "ab", "keep")}
    beta, ab = (torch.from_numpy(a[k].astype(np.int64) << 32) for k in ("beta", "ab"))
    keep = torch.from_numpy(a["keep"])
    low, center = (1 << (64 - SHIFT)) - 1, 1 << (62 - SHIFT)

    def step():
        shifted = t["m"] + (1 << 62)
        mx = ((shifted >> SHIFT) & low) - center
        mu = (shifted >= 0).long()
        rx = t["alpha"] - mu * beta
        z = mx * mx - 2 * mx * rx + t["alpha2"] - mu * ab
        z[:, keep] = t["relu"] << ALIGN
        return z - t["sub"]

    return step


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("row", ROWS)
def test_activation(benchmark, measure, one_thread, rng, n, row):
    benchmark.group = f"activation step n={n}"
    if row == "memory copy":
        source, target = rng.integers(0, 2**64, 3 * n, dtype=np.uint64), np.empty(3 * n, np.uint64)
        measure(np.copyto, target, source, n=n, moved=48 * n)
        return
    args = inputs(rng, n)
    common = dict(shift=SHIFT, align=ALIGN, party=0)
    want = reference.activation_step(**args, **common)
    if row == "torch int64":
        step = torch_step(pytest.importorskip("torch"), args)
        got = measure(step, n=n, moved=48 * n).numpy().view(np.uint64)
    elif row == "numpy":
        got = measure(lambda: reference.activation_step(**args, **common), n=n, moved=48 * n, rounds=5)
    else:
        out = np.empty_like(args["m"])
        with kernels.use(tier=row):
            got = measure(lambda: kernels.activation_step(**args, **common, out=out), n=n, moved=48 * n, tier=row)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("row", TIERS)
def test_activation_of_32_bits(benchmark, measure, one_thread, rng, n, row):
    """The same on a wire of 32 bits: half the bytes."""
    benchmark.group = f"activation step n={n}"
    args, common = inputs(rng, n, 32), dict(shift=SHIFT - 6, align=ALIGN, party=0)
    out = np.empty_like(args["m"])
    with kernels.use(tier=row):
        got = measure(lambda: kernels.activation_step(**args, **common, out=out), n=n, moved=24 * n, tier=row)
    np.testing.assert_array_equal(got, reference.activation_step(**args, **common))


@pytest.mark.parametrize("threads", [1, 2])
def test_activation_threads(benchmark, measure, one_thread, rng, threads):
    n = 2**18
    benchmark.group = f"activation step n={n}, threads"
    args = inputs(rng, n)
    out = np.empty_like(args["m"])
    with kernels.use(threads=threads):
        measure(
            lambda: kernels.activation_step(**args, shift=SHIFT, align=ALIGN, party=0, out=out),
            n=n, moved=48 * n, threads=threads,
        )  # fmt: skip
