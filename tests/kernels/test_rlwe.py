"""Polynomials, samplers and ciphertexts of encrypted maps; whole maps are in tests/secure/makers."""

import functools
import math

import numpy as np
import pytest

from autorep_fx import kernels
from autorep_fx.kernels import reference
from autorep_fx.kernels.reference import rlwe as exact

WIDTHS = [32, 64]
SEEDS = [bytes([17 * i + 1] * 16) for i in range(5)]
INPUTS, OUTPUTS, TERMS, SAMPLES = 3, 5, 6, 2


def ring(width):
    return np.dtype(f"u{width // 8}")


@functools.cache
def keys(width):
    """The client's secret in small numbers and at the roots, and its public key."""
    small = reference.rlwe_ternary(SEEDS[0], 0, 1, width=width)
    secret = reference.rlwe_forward(small, width=width)[0]
    other = reference.rlwe_uniform(SEEDS[1], 0, 1, width=width)[0]
    return small[0], secret, np.stack([reference.rlwe_public(secret, other, SEEDS[2], width=width), other])


@functools.cache
def map_of(width):
    """Blindings, weights and their positions: edges of the ring, and both signs of a wrap."""
    n = kernels.rlwe_primes(width)[0]
    rng = np.random.default_rng(width)
    plain = rng.integers(0, 2**width, (SAMPLES, 1, INPUTS, n), ring(width))
    plain[..., :4] = [0, 1, 2 ** (width - 1), 2**width - 1]
    values = rng.integers(-(2**15), 2**15, (1, OUTPUTS, INPUTS, TERMS)).astype(np.int32)
    values[0, 0, 0, :3] = [0, -(2**15), 2**15 - 1]
    return plain, values, np.array([0, 1, n - 1, n, n + 5, 2 * n - 1], np.int32)


@functools.cache
def encrypted(width, low_words):
    n = kernels.rlwe_primes(width)[0]
    return reference.rlwe_encrypt(map_of(width)[0].reshape(-1, n), keys(width)[1], public_seed=SEEDS[3],
                                  noise_seed=SEEDS[4], low_words=low_words)  # fmt: skip


@functools.cache
def answers(width, low_words):
    plain, values, positions = map_of(width)
    high, low = encrypted(width, low_words)
    weight = reference.rlwe_weight(values, positions, width=width)
    given = high.reshape(plain.shape), low.reshape(*plain.shape[:3], *low.shape[1:])
    return reference.rlwe_respond(*given, weight, keys(width)[2], public_seed=SEEDS[3], seed=SEEDS[0])


def respond(kernel, width, low_words, memory=0, values=None):
    plain, own, positions = map_of(width)
    high, low = encrypted(width, low_words)
    weight = kernel.rlwe_weight(own if values is None else values, positions, width=width, memory=memory)
    return kernel.rlwe_respond(high.reshape(plain.shape), low.reshape(*plain.shape[:3], *low.shape[1:]), weight,
                               keys(width)[2], public_seed=SEEDS[3], seed=SEEDS[0])  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_primes_are_primes_with_roots_and_few_bits(width):
    n, primes = kernels.rlwe_primes(width)
    assert len(set(primes)) == len(primes)
    for p in primes:
        assert p < 2**27 < 1.01 * p and p % (2 * n) == 1
        assert all(p % k for k in range(2, math.isqrt(p) + 1))


def negacyclic(a, b):
    """The product of small polynomials by the schoolbook."""
    n, full = len(a), np.convolve(a.astype(np.int64), b.astype(np.int64))
    return full[:n] - np.append(full[n:], 0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_product_of_values_is_the_schoolbook_product_of_polynomials(tier, width):
    n, primes = kernels.rlwe_primes(width)
    rng = np.random.default_rng(1)
    small = rng.integers(-128, 128, (3, n)).astype(np.int8)
    small[2] = -128
    values = kernels.rlwe_forward(small, width=width).astype(np.uint64)
    column = np.array(primes, np.uint64)[:, None]
    for i, j in ((0, 1), (1, 2), (2, 2)):
        product = kernels.rlwe_inverse((values[i] * values[j] % column).astype(np.uint32)[None], width=width)[0]
        want = negacyclic(small[i], small[j])
        np.testing.assert_array_equal(product, np.stack([want % p for p in primes]))


@pytest.mark.parametrize("width", WIDTHS)
def test_transforms_equal_reference_and_undo_each_other(tier, width):
    values = kernels.rlwe_uniform(SEEDS[0], 5, 2, width=width)
    for j, p in enumerate(kernels.rlwe_primes(width)[1]):
        values[0, j, :3] = [0, p - 1, 1]
    values[1, :, 100:] = np.array(kernels.rlwe_primes(width)[1], np.uint32)[:, None] - 1
    coefficients = kernels.rlwe_inverse(values, width=width)
    np.testing.assert_array_equal(coefficients, reference.rlwe_inverse(values, width=width))
    np.testing.assert_array_equal(exact._ntt(coefficients, width), values)
    small = np.random.default_rng(2).integers(-128, 128, (3, values.shape[-1])).astype(np.int8)
    np.testing.assert_array_equal(kernels.rlwe_forward(small, width=width), reference.rlwe_forward(small, width=width))


@pytest.mark.parametrize("sampler", ["rlwe_uniform", "rlwe_ternary", "rlwe_noise"])
@pytest.mark.parametrize("width", WIDTHS)
def test_samplers_equal_reference(tier, width, sampler):
    for first, count in ((0, 3), (2**40, 1), (7, 0)):
        got, want = (getattr(k, sampler)(SEEDS[1], first, count, width=width) for k in (kernels, reference))
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, want)


def chi_square(counts, shares):
    expected = np.asarray(shares) * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def most(cells):
    """What a chi-square of so many cells exceeds with probability 0.001 (Wilson and Hilferty)."""
    k = cells - 1
    return k * (1 - 2 / (9 * k) + 3.09 * math.sqrt(2 / (9 * k))) ** 3


def test_samplers_have_their_distributions():
    ternary = kernels.rlwe_ternary(SEEDS[2], 0, 50, width=32)
    assert chi_square(np.bincount((ternary + 1).ravel(), minlength=3), [1 / 3] * 3) < most(3)
    noise = kernels.rlwe_noise(SEEDS[2], 0, 50, width=32)
    assert abs(noise).max() <= 21
    coins = np.array([math.comb(42, 21 + k) / 2**42 for k in range(-10, 11)])
    inner = np.bincount((noise[abs(noise) <= 10] + 10).ravel(), minlength=21)
    counts = np.append(inner, (abs(noise) > 10).sum())
    assert chi_square(counts, np.append(coins, 1 - coins.sum())) < most(22)
    uniform = kernels.rlwe_uniform(SEEDS[2], 0, 50, width=32)
    for j, p in enumerate(kernels.rlwe_primes(32)[1]):
        assert uniform[:, j].max() < p
        counts = np.bincount((uniform[:, j].astype(np.int64) * 64 // p).ravel(), minlength=64)
        assert chi_square(counts, [1 / 64] * 64) < most(64)


def test_neighbours_of_a_sampler_are_independent():
    for sample, cells in ((kernels.rlwe_ternary, 3), (kernels.rlwe_uniform, 4)):
        x = sample(SEEDS[3], 0, 60, width=32).astype(np.int64).reshape(60, -1)
        x = x + 1 if cells == 3 else x >> 25
        for pairs in (x[:, :-1] * cells + x[:, 1:], x[:-1] * cells + x[1:]):
            counts = np.bincount(pairs.ravel(), minlength=cells**2)
            # 2^27 is not a multiple of a prime: a share of the top quarter is missing.
            top = [1 / 3] * 3 if cells == 3 else np.bincount(x.ravel()) / x.size
            assert chi_square(counts, np.outer(top, top).ravel()) < most(cells**2)


def test_what_a_prime_rejects_is_replaced():
    p = kernels.rlwe_primes(64)[1][-1]
    found = kernels.rlwe_uniform(SEEDS[0], 0, 1, width=64)[0, -1]
    drawn = kernels.prg_words(SEEDS[0], 4, 4096 + 64).view(np.uint32) & np.uint32(2**27 - 1)
    rejected = np.flatnonzero(drawn[:8192] >= p)
    assert 20 < len(rejected) < 100
    np.testing.assert_array_equal(np.flatnonzero(found != drawn[:8192]), rejected)
    spare = drawn[8192:]
    np.testing.assert_array_equal(found[rejected], spare[spare < p][: len(rejected)])


@pytest.mark.parametrize("width", WIDTHS)
def test_public_key_equals_reference_and_hides_noise_alone(tier, width):
    small, secret, public = keys(width)
    np.testing.assert_array_equal(kernels.rlwe_public(secret, public[1], SEEDS[2], width=width), public[0])
    primes = kernels.rlwe_primes(width)[1]
    noise = (public[0].astype(np.uint64) + secret.astype(np.uint64) * public[1]) % np.array(primes, np.uint64)[:, None]
    got = kernels.rlwe_inverse(noise.astype(np.uint32)[None], width=width)[0]
    want = kernels.rlwe_noise(SEEDS[2], 0, 1, width=width)[0].astype(np.int64)
    np.testing.assert_array_equal(got, np.stack([want % p for p in primes]))


@pytest.mark.parametrize("low_words", [1, 2])
@pytest.mark.parametrize("width", WIDTHS)
def test_encryption_and_answer_equal_reference(tier, width, low_words):
    plain, secret = map_of(width)[0], keys(width)[1]
    flat = plain.reshape(-1, plain.shape[-1])
    got = kernels.rlwe_encrypt(flat, secret, public_seed=SEEDS[3], noise_seed=SEEDS[4], low_words=low_words)
    for mine, want in zip(got, encrypted(width, low_words), strict=True):
        np.testing.assert_array_equal(mine, want)
    for memory in (0, 10**9) if low_words == 1 else (0,):
        for mine, want in zip(respond(kernels, width, low_words, memory), answers(width, low_words), strict=True):
            np.testing.assert_array_equal(mine, want)


@functools.cache
def decrypted(width):
    _, high, low = answers(width, 1)
    n = high.shape[-1]
    return reference.rlwe_decrypt(high.reshape(-1, n), low.reshape(-1, n), keys(width)[1])


@pytest.mark.parametrize("width", WIDTHS)
def test_decryption_equals_reference(tier, width):
    _, high, low = answers(width, 1)
    n = high.shape[-1]
    got = kernels.rlwe_decrypt(high.reshape(-1, n), low.reshape(-1, n), keys(width)[1])
    np.testing.assert_array_equal(got, decrypted(width))


def product(plain, values, positions, width):
    """W B modulo 2^width, by shifting: (samples, outputs, degree)."""
    n = plain.shape[-1]
    out = np.zeros((len(plain), values.shape[1], n), ring(width))
    around = np.concatenate([plain[:, 0], -plain[:, 0]], -1)  # X^n = -1
    for k, position in enumerate(positions):
        shifted = around[..., (np.arange(n) - position) % (2 * n)]
        for o in range(values.shape[1]):
            factors = values[0, o, :, k].astype(np.int64).astype(ring(width))
            out[:, o] += (shifted * factors[None, :, None]).sum(1, dtype=ring(width))
    return out


@pytest.mark.parametrize("width, most_often", [(32, 0.047), (64, 0.067)])
def test_shares_add_up_but_for_the_last_bit_at_times(width, most_often):
    share = answers(width, 1)[0]
    total = decrypted(width).reshape(share.shape) + share
    off = (total[:, 0] - product(*map_of(width), width)).view(f"i{width // 8}")
    assert abs(off).max() == 1
    deviation = math.sqrt(most_often / off.size)
    assert abs((off != 0).mean() - most_often) < 5 * deviation


@pytest.mark.parametrize("low_words", [1, 2])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", ["ends", "alike"])
def test_noise_stays_below_the_bound_on_the_largest_weights_and_inputs(width, low_words, case):
    from autorep_fx.secure.makers.paired.maps.parameters import RINGS

    n, primes = kernels.rlwe_primes(width)
    q, t, sizes = RINGS[width].modulus, 2**width, 2**15 - 1
    small, secret, public = keys(width)
    rng = np.random.default_rng(3)
    sign = rng.choice([-1, 1], (1, 1, 2, n)) if case == "ends" else np.ones((1, 1, 2, n), int)
    plain = np.full((2, n), t - 1 if case == "alike" else t // 2, ring(width))
    plain[:, ::2] = t - 1 if case == "alike" else 1
    high, low = reference.rlwe_encrypt(plain, secret, public_seed=SEEDS[3], noise_seed=SEEDS[4], low_words=low_words)
    c = np.stack([exact._ntt(exact.received(high, low, width), width),
                  reference.rlwe_uniform(SEEDS[3], 0, 2, width=width).astype(np.uint64)], 1)  # fmt: skip
    whole = np.stack([np.mod(sizes * sign[0, 0], p) for p in primes], -2).astype(np.uint64)
    w, column = exact._ntt(whole, width), np.array(primes, np.uint64)[:, None]
    u = reference.rlwe_forward(reference.rlwe_ternary(SEEDS[0], 0, 1, width=width), width=width)[0].astype(np.uint64)
    e = reference.rlwe_forward(reference.rlwe_noise(SEEDS[0], 1, 1, width=width), width=width)[0]
    x, y = (((c[:, part] * w % column).sum(0) + u * public[part]) % column for part in range(2))
    decryption = exact._intt((x + (y + e) % column * secret) % column, width)
    found = exact.whole_numbers(decryption, primes)
    want = sum(_convolve(sizes * sign[0, 0, i], plain[i].astype(object), n) for i in range(2))
    noise = (found * t - want % t * q) % (q * t)  # units of 1 / t
    noise = np.where(noise > q * t // 2, noise - q * t, noise)
    off = float(abs(noise).max()) / q  # in the last bit of a share
    bound = RINGS[width].error(2 * n * sizes, math.sqrt(2 * n) * sizes, low_words)
    assert 1e-4 * bound < off < bound


def _convolve(a, b, n):
    """The negacyclic product of small numbers and those of up to 64 bits, of which 11 are taken at a time."""
    total, values = np.zeros(n, object), np.fft.rfft(a.astype(np.float64), 2 * n)
    for shift in range(0, 64, 11):
        digit = np.fft.rfft((b >> shift & 2047).astype(np.float64), 2 * n)
        full = np.rint(np.fft.irfft(values * digit, 2 * n)).astype(np.int64)
        total = total + ((full[:n] - full[n:]).astype(object) << shift)
    return total


def test_wide_weights_of_either_sign_are_exact(tier):
    edges = [0, 1, -1, 2**62, -(2**63), 2**63 - 1, 2**31, -(2**31), -(2**32), 2**32 - 1]
    values = np.resize(np.array(edges, np.int64), (1, OUTPUTS, INPUTS, TERMS))
    for mine, want in zip(respond(kernels, 64, 1, values=values), respond(reference, 64, 1, values=values)):
        np.testing.assert_array_equal(mine, want)


@pytest.mark.parametrize(
    "outputs, inputs, groups, samples", [(1, 1, 1, 1), (8, 17, 1, 1), (5, 16, 2, 5), (9, 33, 1, 2), (17, 1, 1, 33)]
)
def test_tiles_chunks_groups_and_samples_are_the_same_sums(outputs, inputs, groups, samples):
    n = kernels.rlwe_primes(32)[0]
    rng = np.random.default_rng(4)
    plain = rng.integers(0, 2**32, (samples, groups, inputs, n), np.uint32)
    values = rng.integers(-(2**12), 2**12, (groups, outputs, inputs, 2)).astype(np.int32)
    positions = np.array([3, n + 7], np.int32)
    _, secret, public = keys(32)
    high, low = kernels.rlwe_encrypt(plain.reshape(-1, n), secret, public_seed=SEEDS[3], noise_seed=SEEDS[4])
    given = high.reshape(plain.shape), low.reshape(samples, groups, inputs, 1, n)
    found = []
    one = 8 * inputs * 3 * n * 4  # a tile of weights at the roots
    for memory, threads in ((0, 1), (one, 2), (10**9, 2)):
        with kernels.use(threads=threads):
            weight = kernels.rlwe_weight(values, positions, width=32, memory=memory)
            tiles = groups * -(-outputs // 8)
            assert weight.stored_bytes == one * min(tiles, memory // one)
            found.append(kernels.rlwe_respond(*given, weight, public, public_seed=SEEDS[3], seed=SEEDS[0]))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    share, answer, below = found[0]
    shares = kernels.rlwe_decrypt(answer.reshape(-1, n), below.reshape(-1, n), secret).reshape(share.shape)
    for g in range(groups):
        want = product(plain[:, g : g + 1], values[g : g + 1], positions, 32)
        assert abs((share[:, g] + shares[:, g] - want).view(np.int32)).max() <= 1


def test_a_blinding_may_be_what_an_encryption_of_zero_says():
    n, secret = kernels.rlwe_primes(32)[0], keys(32)[1]
    zero = np.zeros((1, n), np.uint32)
    high, low = kernels.rlwe_encrypt(zero, secret, public_seed=SEEDS[3], noise_seed=SEEDS[4])
    again = kernels.rlwe_encrypt(-high, secret, public_seed=SEEDS[3], noise_seed=SEEDS[4])
    assert not again[0].any()
    np.testing.assert_array_equal(again[1], low)


def test_no_polynomials_are_no_work(tier):
    n = kernels.rlwe_primes(32)[0]
    none = np.zeros((0, n), np.uint32)
    high, low = kernels.rlwe_encrypt(none, keys(32)[1], public_seed=SEEDS[3], noise_seed=SEEDS[4])
    assert high.shape == (0, n) and low.shape == (0, 1, n)
    assert kernels.rlwe_decrypt(none, none.astype(np.uint8), keys(32)[1]).shape == (0, n)


def _respond(**changed):
    given = dict(zip(("high", "low"), encrypted(32, 1)))
    plain, values, positions = map_of(32)
    given = {"high": given["high"].reshape(plain.shape), "low": given["low"].reshape(*plain.shape[:3], 1, -1),
             "public": keys(32)[2], "public_seed": SEEDS[3], "seed": SEEDS[0]} | changed  # fmt: skip
    weight = kernels.rlwe_weight(values, positions, width=32)
    return kernels.rlwe_respond(given["high"], given["low"], weight, given["public"],
                                public_seed=given["public_seed"], seed=given["seed"])  # fmt: skip


def _beyond(residues):
    out = residues.copy()
    out.reshape(-1)[-1] = kernels.rlwe_primes(32)[1][-1]
    return out


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.rlwe_uniform(b"short", 0, 1, width=32), ValueError, "seed"),
        (lambda: kernels.rlwe_ternary(SEEDS[0], -1, 1, width=32), ValueError, "first"),
        (lambda: kernels.rlwe_noise(SEEDS[0], 0, -1, width=32), ValueError, "polynomials"),
        (lambda: kernels.rlwe_noise(SEEDS[0], 0, 1, width=33), ValueError, "width"),
        (lambda: kernels.rlwe_noise(SEEDS[0], 0, 1, width="32"), TypeError, "width"),
        (lambda: kernels.rlwe_forward(np.zeros((1, 8192), np.int8), width=32), ValueError, "small"),
        (lambda: kernels.rlwe_inverse(_beyond(keys(32)[2][:1]), width=32), ValueError, "values"),
        (lambda: kernels.rlwe_public(_beyond(keys(32)[1]), keys(32)[1], SEEDS[0], width=32), ValueError, "secret"),
        (lambda: kernels.rlwe_encrypt(np.zeros((1, 8192), np.uint32), keys(32)[1], public_seed=SEEDS[0],
                                      noise_seed=SEEDS[0]), ValueError, "plain"),
        (lambda: kernels.rlwe_encrypt(np.zeros((1, 4096), np.uint32), keys(64)[1], public_seed=SEEDS[0],
                                      noise_seed=SEEDS[0]), ValueError, "secret"),
        (lambda: kernels.rlwe_weight(np.zeros((1, 1, 1, 1), np.int32), np.array([8192], np.int32), width=32),
         ValueError, "positions"),
        (lambda: kernels.rlwe_weight(np.zeros((1, 1, 1, 2), np.int32), np.array([0], np.int32), width=32),
         ValueError, "positions"),
        (lambda: kernels.rlwe_weight(np.zeros((1, 0, 1, 1), np.int32), np.array([0], np.int32), width=32),
         ValueError, "values"),
        (lambda: _respond(high=encrypted(32, 1)[0]), ValueError, "high"),
        (lambda: _respond(low=encrypted(32, 1)[1]), ValueError, "low"),
        (lambda: _respond(public=_beyond(keys(32)[2])), ValueError, "public: has a number that is not below"),
        (lambda: _respond(public=keys(32)[1]), ValueError, "public"),
        (lambda: _respond(seed=b"short"), ValueError, "seed"),
        (lambda: kernels.rlwe_decrypt(np.zeros((1, 4096), np.uint32), np.zeros((2, 4096), np.uint8), keys(32)[1]),
         ValueError, "low"),
    ],
)  # fmt: skip
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
