import numpy as np
import pytest
from kernel_cases import HASH_KEY, wanted

from autorep_fx import kernels
from autorep_fx.kernels import reference

#: Of a payload.
WIDTHS = ["u8", "u4"]

#: Payloads of an element, and their width: values that come with tags have more than three.
PAYLOADS = [(1, "u8"), (2, "u8"), (3, "u8"), (4, "u8"), (5, "u8"), (6, "u8"), (1, "u4"), (2, "u4"), (3, "u4")]


def roots(ring, n):
    return ring((n, 2)), ring((n, 2))


def both(alpha, payload, x, bits, r):
    key = kernels.gen_dcf(alpha, payload, *r, bits=bits, hash_key=HASH_KEY)
    return sum(kernels.eval_dcf(key, r[p], x, party=p) for p in (0, 1))


def expected(alpha, payload, x):
    return payload * (x < alpha)[:, None].astype(payload.dtype)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("payloads, width", PAYLOADS)
def test_every_alpha_and_x(tier, ring, bits, payloads, width):
    grid = np.arange(1 << bits, dtype=np.uint64)
    alpha, x = (v.ravel() for v in np.meshgrid(grid, grid))
    payload = ring((alpha.size, payloads)).astype(width)
    got = both(alpha, payload, x, bits, roots(ring, alpha.size))
    np.testing.assert_array_equal(got, expected(alpha, payload, x))


@pytest.mark.parametrize("bits", [9, 19, 32, 33, 62, 63])
@pytest.mark.parametrize("width", WIDTHS)
def test_edges_and_random_points(tier, ring, bits, width):
    top = 2**bits - 1
    special = np.array([0, 1, 2, 3, 4, top // 2, top // 2 + 1, top - 4, top - 1, top], np.uint64)
    a, x = (v.ravel() for v in np.meshgrid(special, special))
    random = ring((2, 200)) >> np.uint64(64 - bits)
    close = np.minimum(random[0] ^ np.uint64(1), np.uint64(top))
    alpha = np.concatenate([a, random[0], random[0], random[0]])
    points = np.concatenate([x, random[1], close, random[0]])
    payload = ring((alpha.size, 3)).astype(width)
    got = both(alpha, payload, points, bits, roots(ring, alpha.size))
    np.testing.assert_array_equal(got, expected(alpha, payload, points))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 101, 127, 128, 129])
@pytest.mark.parametrize("bits, payloads, width", [
    *((bits, payloads, width) for bits, payloads in [(1, 3), (2, 1), (7, 2), (7, 3)] for width in WIDTHS),
    (1, 6, "u8"), (7, 4, "u8"), (7, 5, "u8"), (7, 6, "u8"), (33, 6, "u8"),
])  # fmt: skip
def test_equals_reference(tier, ring, n, bits, payloads, width):
    alpha, x = ring((2, n)) >> np.uint64(64 - bits)
    payload, r = ring((n, payloads)).astype(width), roots(ring, n)
    key = kernels.gen_dcf(alpha, payload, *r, bits=bits, hash_key=HASH_KEY)
    np.testing.assert_array_equal(key, wanted(reference.gen_dcf, alpha, payload, *r, bits=bits, hash_key=HASH_KEY))
    for module in (kernels, reference):
        assert key.size == module.dcf_words(n, bits=bits, payloads=payloads, payload_bits=8 * int(width[1]))
    for p in (0, 1):
        got = kernels.eval_dcf(key, r[p], x, party=p)
        assert got.shape == (n, payloads) and got.dtype == width
        np.testing.assert_array_equal(got, wanted(reference.eval_dcf, key, r[p], x, party=p))


def test_threads_make_the_same_keys(tier, ring):
    n = 3001
    alpha, x = ring((2, n)) >> np.uint64(45)
    payload, r = ring((n, 3)), roots(ring, n)
    results = []
    for threads in (1, 3):
        with kernels.use(threads=threads):
            key = kernels.gen_dcf(alpha, payload, *r, bits=19, hash_key=HASH_KEY)
            results.append([key, kernels.eval_dcf(key, r[1], x, party=1)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def uniform(words):
    """Within six standard deviations of uniform: all bits, each bit position, and neighbours against each other."""
    bits = np.unpackbits(words.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little").astype(np.int64)
    n = len(bits)
    assert abs(bits.mean() - 0.5) < 6 * 0.5 / np.sqrt(bits.size)
    assert (np.abs(bits.mean(0) - 0.5) < 6 * 0.5 / np.sqrt(n)).all()
    assert abs((bits[1:] ^ bits[:-1]).mean() - 0.5) < 6 * 0.5 / np.sqrt(bits.size)


@pytest.mark.parametrize("alpha_value", [0, 5, 255])
def test_one_party_sees_only_random_words(ring, alpha_value):
    """One key and one root alone, for the most telling secrets: alpha fixed, payload zero or fixed, roots uniform."""
    n, bits = 4096, 8
    alpha = np.full(n, alpha_value, np.uint64)
    r = kernels.prg_words(bytes(16), 1, (n, 2)), kernels.prg_words(bytes(16), 2, (n, 2))
    for payload in (np.zeros((n, 3), np.uint64), np.full((n, 3), 2**64 - 1, np.uint64)):
        key = kernels.gen_dcf(alpha, payload, *r, bits=bits, hash_key=HASH_KEY)
        blocks = key[8:].reshape(-1, 16 * (1 + 6 * 5 + 4 * 3))
        control, corrections = blocks[:, :16].copy().view(np.uint32), blocks[:, 16:]
        live = (control >> np.uint32(2)) & np.uint32(0x3F)  # the six levels above the leaves
        assert (control >> np.uint32(8)).max() == 0 and (control & np.uint32(3)).max() == 0
        for i in range(6):
            assert abs(((live >> np.uint32(i)) & np.uint32(1)).mean() - 0.5) < 6 * 0.5 / np.sqrt(live.size)
        seeds = corrections[:, :480].reshape(-1, 6, 80)[:, :, :32].reshape(-1, 2)
        assert (seeds[:, 0] & np.uint64(1)).max() == 0  # lowest bit of a seed is always zero
        uniform(seeds[:, 1])
        uniform((seeds[:, 0] >> np.uint64(1)) | (seeds[:, 1] << np.uint64(63)))
        values = np.concatenate(
            [corrections[:, : 6 * 80].reshape(-1, 6, 80)[:, :, 32:].ravel(), corrections[:, 480:].ravel()]
        )
        uniform(values)
        for p in (0, 1):
            uniform(kernels.eval_dcf(key, r[p], ring(n) >> np.uint64(56), party=p))


def test_each_batch_has_its_own_hash(tier, ring):
    """The key carries the hash's AES key, and with the same secrets everything differs between batches."""
    n, bits = 208, 19
    alpha, x = ring((2, n)) >> np.uint64(64 - bits)
    payload, r = ring((n, 3)), roots(ring, n)
    first, second = (kernels.gen_dcf(alpha, payload, *r, bits=bits, hash_key=k) for k in (HASH_KEY, HASH_KEY[::-1]))
    assert first[5:7].tobytes() == HASH_KEY
    np.testing.assert_array_equal(second, reference.gen_dcf(alpha, payload, *r, bits=bits, hash_key=HASH_KEY[::-1]))
    corrections = [k[8:].reshape(n // 16, -1)[:, 16:] for k in (first, second)]  # behind the rows of control bits
    assert (corrections[0] != corrections[1]).all()
    second[5:7] = first[5:7]
    got = sum(kernels.eval_dcf(second, r[p], x, party=p) for p in (0, 1))
    assert (got != expected(alpha, payload, x)).all()


def test_a_wrong_root_gives_noise(ring):
    n = 1000
    alpha, x = ring((2, n)) >> np.uint64(45)
    payload, r = ring((n, 1)), roots(ring, n)
    key = kernels.gen_dcf(alpha, payload, *r, bits=19, hash_key=HASH_KEY)
    got = kernels.eval_dcf(key, r[0] ^ np.uint64(2), x, party=0) + kernels.eval_dcf(key, r[1], x, party=1)
    assert (got != expected(alpha, payload, x)).all()


GOOD = dict(bits=5, hash_key=HASH_KEY)
A, P, R = np.zeros(4, np.uint64), np.zeros((4, 3), np.uint64), np.zeros((4, 2), np.uint64)


def good_key():
    return kernels.gen_dcf(A, P, R, R, **GOOD)


def damaged(index, value):
    key = good_key()
    key[index] = value
    return key


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.gen_dcf(A, P, R, R, bits=0, hash_key=HASH_KEY), ValueError, "bits"),
        (lambda: kernels.gen_dcf(A, P, R, R, bits=None, hash_key=HASH_KEY), TypeError, "bits"),
        (lambda: kernels.gen_dcf(A, P, R, R, bits=64, hash_key=HASH_KEY), ValueError, "bits"),
        (lambda: kernels.gen_dcf(A + np.uint64(32), P, R, R, **GOOD), ValueError, "alpha"),
        (lambda: kernels.gen_dcf(A[None], P, R, R, **GOOD), ValueError, "alpha"),
        (lambda: kernels.gen_dcf(A, P[:, :0], R, R, **GOOD), ValueError, "payload"),
        (lambda: kernels.gen_dcf(A, P[:3], R, R, **GOOD), ValueError, "payload"),
        (lambda: kernels.gen_dcf(A, np.zeros((4, 7), np.uint64), R, R, **GOOD), ValueError, "payload"),
        (lambda: kernels.gen_dcf(A, np.zeros((4, 4), np.uint32), R, R, **GOOD), ValueError, "payload"),
        (lambda: kernels.gen_dcf(A, P, R[:3], R, **GOOD), ValueError, "root0"),
        (lambda: kernels.gen_dcf(A, P, R, A, **GOOD), ValueError, "root1"),
        (lambda: kernels.gen_dcf(A, P, R, R, bits=5, hash_key=b"short"), ValueError, "hash_key"),
        (lambda: kernels.gen_dcf(A, P, R, R, bits=5, hash_key=None), TypeError, "hash_key"),
        (lambda: kernels.gen_dcf(A.astype(np.uint8), P, R, R, **GOOD), TypeError, "alpha"),
        (lambda: kernels.eval_dcf(A, R, A, party=0), ValueError, "key"),
        (lambda: kernels.eval_dcf(good_key()[:-1], R, A, party=0), ValueError, "key: wrong length"),
        (lambda: kernels.eval_dcf(damaged(0, 0), R, A, party=0), ValueError, "key: .*version"),
        (lambda: kernels.eval_dcf(damaged(1, 64), R, A, party=0), ValueError, "key"),
        (lambda: kernels.eval_dcf(damaged(2, 4), R, A, party=0), ValueError, "key"),
        (lambda: kernels.eval_dcf(damaged(3, 2**63), R, A, party=0), ValueError, "key"),
        (lambda: kernels.eval_dcf(damaged(3, 40), R, A, party=0), ValueError, "key"),
        (lambda: kernels.eval_dcf(good_key().tobytes(), R, A, party=0), TypeError, "key"),
        (lambda: kernels.eval_dcf(good_key(), R[:2], A, party=0), ValueError, "root"),
        (lambda: kernels.eval_dcf(good_key(), R, A[:2], party=0), ValueError, "x"),
        (lambda: kernels.eval_dcf(good_key(), R, A + np.uint64(32), party=0), ValueError, "x"),
        (lambda: kernels.eval_dcf(good_key(), R, A, party=2), ValueError, "party"),
        (lambda: kernels.dcf_words(-1, bits=5), ValueError, "n"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
