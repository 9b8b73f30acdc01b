"""Encrypted linear maps, one thread: transforms, the client's part and the server's, at a layer of CIFAR ResNet-18.

`us_per_transform` in extra_info: of one polynomial modulo one prime. The layer is 64 to 64 channels, 3x3, at 32x32.
"""

import numpy as np
import pytest
from rows import TIERS

from autorep_fx import kernels
from autorep_fx.secure.makers.paired import maps
from autorep_fx.secure.plan import linear
from autorep_fx.secure.plan.plan import Step
from autorep_fx.secure.plan.server_numbers import Numbers

SEED, COUNT = bytes(range(16)), 32


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_transform(benchmark, measure, one_thread, tier, width, way):
    n, primes = kernels.rlwe_primes(width)
    benchmark.group = f"rlwe_{way}, {COUNT} polynomials modulo X^{n} + 1 and {len(primes)} primes"
    small = kernels.rlwe_ternary(SEED, 0, COUNT, width=width)
    values = kernels.rlwe_forward(small, width=width)
    with kernels.use(tier=tier):
        if way == "forward":
            got = measure(lambda: kernels.rlwe_forward(small, width=width), n=COUNT * len(primes) * n, tier=tier)
            np.testing.assert_array_equal(got, values)
        else:
            got = measure(lambda: kernels.rlwe_inverse(values, width=width), n=COUNT * len(primes) * n, tier=tier)
            np.testing.assert_array_equal(got[:, 0], small.astype(np.int64) % primes[0])
    benchmark.extra_info["us_per_transform"] = round(benchmark.stats["median"] / COUNT / len(primes) * 1e6, 2)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("sampler", ["rlwe_uniform", "rlwe_ternary", "rlwe_noise"])
def test_sampler(benchmark, measure, one_thread, tier, sampler):
    benchmark.group = f"{sampler}, {COUNT} polynomials"
    sample = getattr(kernels, sampler)
    with kernels.use(tier=tier):
        got = measure(lambda: sample(SEED, 0, COUNT, width=32), n=COUNT * 4096 * (3 if "uniform" in sampler else 1),
                      tier=tier)  # fmt: skip
    np.testing.assert_array_equal(got, sample(SEED, 0, COUNT, width=32))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("part", ["encrypt", "respond, transforming", "respond, weights kept", "decrypt"])
def test_layer(benchmark, measure, one_thread, rng, tier, width, part):
    attrs = dict(kind="conv2d", weight_shape=(64, 64, 3, 3), weight_bits=12, stride=(1, 1), padding=(1, 1),
                 dilation=(1, 1), groups=1)  # fmt: skip
    step = Step("conv", "map", ("x",), (64, 32, 32), 20, width, attrs)
    up, down = maps.sizes(step, 1)
    benchmark.group = f"conv 64->64 3x3 32x32, {width} bits, {part}; {8e-6 * up:.2f} MB up, {8e-6 * down:.2f} MB down"
    weight = rng.integers(-(2**11), 2**11, attrs["weight_shape"])
    blinding = rng.integers(0, 2**width, (1, 64, 32, 32), np.dtype(f"u{width // 8}"))
    numbers, key = Numbers(weight.view(np.uint64)), maps.ClientKey()
    public = maps.PublicKey.of(key.public)
    kept = maps.prepare_weight(step, numbers, memory=2**30 if part.endswith("kept") else 0)
    message = maps.encrypt(step, key, blinding)
    share, answer = maps.respond(step, kept, public, message, 1)
    run = {
        "encrypt": lambda: maps.encrypt(step, key, blinding),
        "decrypt": lambda: maps.decrypt(step, key, answer, blinding),
    }
    with kernels.use(tier=tier):
        got = measure(run.get(part, lambda: maps.respond(step, kept, public, message, 1)), n=64 * 64 * 9 * 1024,
                      tier=tier, rounds=5, iterations=1)  # fmt: skip
    own = got if part == "decrypt" else maps.decrypt(step, key, answer, blinding)
    off = share + own - linear.apply(step, linear.pack(step, numbers.of_map), blinding)
    assert abs(off.view(f"i{width // 8}")).max() == 1
