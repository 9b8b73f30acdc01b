"""Convolution in Z_2^64 at the layer shapes of CIFAR ResNet-18, against torch fp32 and torch int64, one thread.

`G_per_s` in extra_info is multiply-adds per nanosecond. At weight_bits=16 the weights are stored as a server's
fixed-point weights may be; 64 is what a dealer's masks need.
"""

import numpy as np
import pytest
from rows import TIERS

from autorep_fx import kernels

# channels, outputs, height, kernel, stride, how many of them ResNet-18 has
LAYERS = [
    (3, 64, 32, 3, 1, 1),
    (64, 64, 32, 3, 1, 4),
    (64, 128, 32, 3, 2, 1),
    (128, 128, 16, 3, 1, 3),
    (128, 256, 16, 3, 2, 1),
    (256, 256, 8, 3, 1, 3),
    (256, 512, 8, 3, 2, 1),
    (512, 512, 4, 3, 1, 3),
    (64, 128, 32, 1, 2, 1),
]
ROWS = [f"{t} w{b}" for t in TIERS for b in (16, 64)] + ["avx512 ring32", "torch fp32", "torch int64"]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda s: "{}to{}_{}x{}s{}".format(*s[:5]))
@pytest.mark.parametrize("row", ROWS)
def test_conv(benchmark, measure, one_thread, rng, layer, row):
    torch = pytest.importorskip("torch")
    i, o, h, k, stride, count = layer
    benchmark.group = f"conv {i}->{o} {h}x{h} kernel {k} stride {stride}"
    products = i * o * k * k * (h // stride) ** 2
    x = rng.integers(0, 2**64, (1, i, h, h), dtype=np.uint64)
    w = rng.integers(-(2**13), 2**13, (o, i, k, k))
    options = dict(stride=stride, padding=k // 2)
    rounds = dict(
        n=products, rounds=7, iterations=1 if row.startswith(("portable", "torch int64")) else 3, per_network=count
    )
    conv = torch.nn.functional.conv2d
    if row == "torch fp32":
        args = torch.randn(x.shape), torch.randn(w.shape)
        measure(lambda: conv(*args, **options), **rounds)
    else:
        xt, wt = torch.from_numpy(x.view(np.int64)), torch.from_numpy(w)
        want = conv(xt, wt, **options).numpy().view(np.uint64)
        if row == "torch int64":
            measure(lambda: conv(xt, wt, **options), **rounds)
        else:
            tier, kind = row.split()
            if tier not in TIERS:
                pytest.skip("not on this machine")
            if kind == "ring32":
                x, w, want, kind = x.astype(np.uint32), w.astype(np.int32), want.astype(np.uint32), "w16"
            packed = kernels.pack_weight(w, weight_bits=int(kind[1:]))
            out = np.empty(want.shape, want.dtype)
            with kernels.use(tier=tier):
                measure(lambda: kernels.conv2d(x, packed, out=out, **options), tier=tier, **rounds)
            np.testing.assert_array_equal(out, want)
    benchmark.extra_info["G_per_s"] = round(products / benchmark.stats["median"] / 1e9, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_conv_threads(benchmark, measure, one_thread, rng, threads):
    benchmark.group = "conv 64->64 32x32, threads"
    x, w = (rng.integers(0, 2**64, s, dtype=np.uint64) for s in ((1, 64, 32, 32), (64, 64, 3, 3)))
    packed = kernels.pack_weight(w)
    with kernels.use(threads=threads):
        measure(lambda: kernels.conv2d(x, packed, padding=1), n=64 * 64 * 9 * 1024, threads=threads, iterations=5)
