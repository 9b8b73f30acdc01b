"""Oblivious transfer: the hash, and strings and bits from correlated blocks."""

import functools

import numpy as np
import pytest

from autorep_fx import kernels
from autorep_fx.kernels import reference

#: The first 16 bytes of SHA-256("autorep_fx: oblivious transfer").
KEY = bytes.fromhex("1b7b0ea32d8ca8a3507bb61808d3cf90")
SIZES = [0, 64, 128, 192, 1088]  # the portable tier hashes 128 at a time


@pytest.fixture
def correlated(ring):
    """correlated(n): the sender's q and delta, the receiver's t and choices."""

    def make(n):
        q, delta, choices = ring((n, 2)), ring((6, 2))[5], ring((n // 64, 3))[:, 2].copy()
        t = q.copy()
        reference.ot_flip_(t, delta, choices)
        return q, delta, t, choices

    return make


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("index, domain", [(0, 0), (2**64 - 3, 5), (2**40, 2**64 - 1)])
def test_bits_and_flips_equal_reference(tier, correlated, n, index, domain):
    q, delta, t, choices = correlated(n)
    for shift in (None, delta):
        got = kernels.ot_bits(q, key=KEY, index=index, domain=domain, delta=shift)
        np.testing.assert_array_equal(got, reference.ot_bits(q, key=KEY, index=index, domain=domain, delta=shift))
    kernels.ot_flip_(q, delta, choices)
    np.testing.assert_array_equal(q, t)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bits", [1, 2, 5, 64])
def test_several_bits_are_those_of_one_hash(tier, correlated, n, bits):
    q, delta, _, _ = correlated(n)
    tweak = dict(key=bytes(range(16)), index=2**33, domain=4)
    got = kernels.ot_bits(q, **tweak, delta=delta, bits=bits)
    np.testing.assert_array_equal(got, reference.ot_bits(q, **tweak, delta=delta, bits=bits))
    assert got.shape == (bits, n // 64)
    np.testing.assert_array_equal(got[:1], kernels.ot_bits(q, **tweak, delta=delta))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bits", [1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64])
def test_strings_equal_reference(tier, correlated, ring, n, bits):
    q, delta, t, choices = correlated(n)
    values = ring(n).astype(np.uint32 if bits <= 32 else np.uint64)
    tweak = dict(bits=bits, key=KEY, index=2**64 - 5, domain=9)
    share, message = kernels.ot_send(q, delta, values, **tweak)
    for got, want in zip((share, message), reference.ot_send(q, delta, values, **tweak)):
        np.testing.assert_array_equal(got, want)
    other = kernels.ot_receive(t, choices, message, **tweak)
    np.testing.assert_array_equal(other, reference.ot_receive(t, choices, message, **tweak))
    signed = f"i{values.itemsize}"
    np.testing.assert_array_equal(kernels.ot_send(q, delta, values.view(signed), **tweak)[1], message)


@pytest.mark.parametrize("bits", range(1, 65))
def test_shares_sum_to_the_chosen_values(tier, correlated, ring, bits):
    n = 128
    q, delta, t, choices = correlated(n)
    values = ring(n).astype(np.uint32 if bits <= 32 else np.uint64)
    share, message = kernels.ot_send(q, delta, values, bits=bits, key=KEY, index=5, domain=3)
    other = kernels.ot_receive(t, choices, message, bits=bits, key=KEY, index=5, domain=3)
    assert message.shape == (n * bits // 64,) and share.dtype == other.dtype == values.dtype
    total = (share.astype(np.uint64) + other) & np.uint64(2**bits - 1)
    chosen = kernels.unpack_bits(choices[None], n)
    np.testing.assert_array_equal(total, chosen * values & np.uint64(2**bits - 1))


def test_the_receiver_has_the_chosen_bit(tier, correlated):
    q, delta, t, choices = correlated(192)
    zero = kernels.ot_bits(q, key=KEY, index=9, domain=1)
    one = kernels.ot_bits(q, key=KEY, index=9, domain=1, delta=delta)
    got = kernels.ot_bits(t, key=KEY, index=9, domain=1)
    np.testing.assert_array_equal(got, zero ^ choices & (zero ^ one))


def test_a_flipped_choice_is_the_other_one(tier, correlated, ring):
    q, delta, t, choices = correlated(128)
    plane = ring(2)
    kernels.ot_flip_(q, delta, plane)
    zero, one = (
        kernels.ot_bits(q, key=KEY, index=0, domain=0),
        kernels.ot_bits(q, key=KEY, index=0, domain=0, delta=delta),
    )
    np.testing.assert_array_equal(
        kernels.ot_bits(t, key=KEY, index=0, domain=0), zero ^ (choices ^ plane) & (zero ^ one)
    )


def test_known_answers_of_the_hash(tier):
    """Put together of OpenSSL's AES-128, under the first half of SHA-256("autorep_fx: oblivious transfer")."""
    block = np.tile(np.frombuffer(bytes(range(16)), np.uint64), (64, 1))
    for index, domain, low in ((0, 0, 0x6B00D6BD9BDD23C0), (2**64 - 1, 7, 0xF53538993E31821C)):
        share, _ = kernels.ot_send(
            block, block[0], np.zeros(64, np.uint64), bits=64, key=KEY, index=index, domain=domain
        )
        assert int(share[0]) == 2**64 - low


@functools.cache
def trees(k):
    """Both parties' keys, and the sender's delta: leaf x of a tree is at place x ^ delta_t there, and 0 not known."""
    rng = np.random.default_rng(k)
    leaves, unknown = (rng.integers(0, 2**64, (128 // k, n, 2), dtype=np.uint64) for n in (2**k, 1))
    delta = rng.integers(0, 2**64, 2, dtype=np.uint64)
    parts = kernels.unpack_bits(delta[None], 128).reshape(-1, k) @ (1 << np.arange(k, dtype=np.uint64))
    punctured = np.stack([tree[np.arange(2**k) ^ int(part)] for tree, part in zip(leaves, parts)])
    punctured[:, :1] = unknown
    return kernels.expand_keys(leaves.reshape(-1, 2)), kernels.expand_keys(punctured.reshape(-1, 2)), delta


@functools.cache
def wanted_extension(k, words, transpose):
    """(blocks, choices, message, the sender's blocks) of the reference."""
    keys, punctured, delta = trees(k)
    options = dict(words=words, k=k, purpose=2**64 - 1, transpose=transpose)
    got = reference.vole_receive(keys, **options)
    return *got, reference.vole_send(punctured, delta, got[2], **options)


def test_keys_equal_reference(ring):
    seeds = ring((37, 2))
    np.testing.assert_array_equal(kernels.expand_keys(seeds), reference.expand_keys(seeds))
    assert kernels.expand_keys(seeds[:0]).shape == (0, 22)


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("k, words", [*((k, w) for k in (1, 2, 4) for w in (0, 1, 2, 8, 9, 15, 33)), (4, 257)])
def test_extension_equals_reference(tier, k, words, transpose):
    keys, punctured, delta = trees(k)
    options = dict(words=words, k=k, purpose=2**64 - 1, transpose=transpose)
    want = wanted_extension(k, words, transpose)
    got = kernels.vole_receive(keys, **options)
    for x, y in zip((*got, kernels.vole_send(punctured, delta, got[2], **options)), want, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("words", [2, 8, 33])
def test_rows_are_hashed_on_the_way_as_afterwards(tier, words, ring):
    _, punctured, delta = trees(4)
    coefficients, options = ring((words, 2)), dict(words=words, k=4, purpose=7)
    message = ring((words * 31,))
    want = kernels.vole_send(punctured, delta, message, **options, transpose=False)
    tags = kernels.vole_fold_(want, coefficients)
    for module in (kernels, reference):
        got = module.vole_send(punctured, delta, message, **options, transpose=True, coefficients=coefficients)
        for x, y in zip(got, (want, tags), strict=True):
            np.testing.assert_array_equal(x, y)
        with pytest.raises(ValueError, match="transpose"):
            module.vole_send(punctured, delta, message, **options, transpose=False, coefficients=coefficients)


@pytest.mark.parametrize("words", [9, 300])
def test_large_trees_give_the_same_on_every_tier(tier, words):
    """256 leaves take the reference seconds."""
    keys, _, _ = trees(8)
    options = dict(words=words, k=8, purpose=1, transpose=True)
    with kernels.use(tier="portable"):
        want = kernels.vole_receive(keys, **options)
    for x, y in zip(kernels.vole_receive(keys, **options), want, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("words", [1, 2, 31, 500])
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_blocks_differ_by_the_choice_times_delta(tier, words, k):
    keys, punctured, delta = trees(k)
    options = dict(words=words, k=k, purpose=3)
    t, choices, message = kernels.vole_receive(keys, **options, transpose=True)
    q = kernels.vole_send(punctured, delta, message, **options, transpose=True)
    kernels.ot_flip_(t, delta, choices)
    np.testing.assert_array_equal(q, t)
    rows = kernels.vole_receive(keys, **options, transpose=False)[0]
    kernels.vole_fold_(rows, np.zeros((words, 2), np.uint64))
    kernels.ot_flip_(rows, delta, choices)
    np.testing.assert_array_equal(q, rows)


@pytest.mark.parametrize("words", [0, 1, 7, 8, 9, 40])
@pytest.mark.parametrize("with_choices", [True, False])
def test_folding_equals_reference(tier, ring, words, with_choices):
    rows, coefficients = ring((64 * words, 2)), ring((2 * words, 1)).reshape(words, 2)
    choices = ring(words) if with_choices else None
    want_rows = rows.copy()
    want = reference.vole_fold_(want_rows, coefficients, choices)
    np.testing.assert_array_equal(kernels.vole_fold_(rows, coefficients, choices), want)
    np.testing.assert_array_equal(rows, want_rows)


def test_tags_of_both_halves_differ_by_the_choices_tag(tier, ring):
    keys, punctured, delta = trees(4)
    options, words = dict(k=4, purpose=0, transpose=False), 77
    rows, choices, message = kernels.vole_receive(keys, words=words, **options)
    sent = kernels.vole_send(punctured, delta, message, words=words, **options)
    coefficients = ring((words, 2))
    mine, theirs = kernels.vole_fold_(rows, coefficients, choices), kernels.vole_fold_(sent, coefficients)
    chosen = kernels.unpack_bits(delta[None], 128)
    np.testing.assert_array_equal(theirs[:128], mine[:128] ^ chosen[:, None] * mine[128])


def test_folding_multiplies_in_the_field(tier):
    """x^128 = x^7 + x^2 + x + 1, so x^190 = x^69 + x^64 + x^63 + x^62."""
    rows = np.zeros((128, 2), np.uint64)
    rows.reshape(128, 2)[5] = 1, 0
    tags = kernels.vole_fold_(rows, np.array([[0, 2**63], [1, 0]], np.uint64))
    assert tags[5].tolist() == [0, 2**63] and not tags[[4, 6, 128]].any()
    rows = np.zeros((64, 2), np.uint64)
    rows.reshape(-1)[7] = 2**63
    assert kernels.vole_fold_(rows, np.array([[0, 2**63]], np.uint64))[7].tolist() == [3 << 62, 0x87 >> 2]


SEED = bytes(range(16))


def grown(ring, count, depth):
    """(leaves, delta, what the party that lacks leaves has of them, the leaves' numbers)."""
    roots, delta = ring((count, 2)), ring((6, 2))[5] | np.array([1, 0], np.uint64)
    leaves, sums = kernels.trees_full(roots, delta, key=SEED, depth=depth)
    missing = ring(count) % np.uint64(2**depth)
    left = missing[:, None] >> np.arange(depth, dtype=np.uint64)[::-1] & np.uint64(1)  # 1: the sibling is on the left
    return leaves, delta, kernels.trees_lacking(sums ^ (delta * (1 - left)[..., None]), missing, key=SEED), missing


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11])
def test_trees_equal_reference(tier, ring, count, depth):
    roots, delta, missing = ring((count, 2)), ring((6, 2))[5], ring(count) % np.uint64(2**depth)
    got = kernels.trees_full(roots, delta, key=SEED, depth=depth)
    for x, y in zip(got, reference.trees_full(roots, delta, key=SEED, depth=depth), strict=True):
        np.testing.assert_array_equal(x, y)
    lacking = kernels.trees_lacking(got[1], missing, key=SEED)
    np.testing.assert_array_equal(lacking, reference.trees_lacking(got[1], missing, key=SEED))


@pytest.mark.parametrize("depth", [1, 2, 4, 11])
def test_all_leaves_but_one_are_the_same_and_that_one_differs_by_delta(tier, ring, depth):
    leaves, delta, lacking, missing = grown(ring, 6, depth)
    at = (np.arange(6) << depth) + missing.astype(np.int64)
    leaves[at] ^= delta
    np.testing.assert_array_equal(lacking, leaves)
    assert (np.flatnonzero(lacking[:, 0] & np.uint64(1)) == at).all()


@pytest.mark.parametrize("n", [0, 64, 128, 1152])
@pytest.mark.parametrize("size, first", [(1, 0), (77, 64), (5000, 640)])
def test_adding_a_sparse_matrix_equals_reference(tier, ring, n, size, first):
    blocks, vector = ring((n, 2)), ring((size, 2))
    want = blocks.copy()
    reference.lpn_(want, vector, seed=SEED, first=first)
    kernels.lpn_(blocks, vector, seed=SEED, first=first)
    np.testing.assert_array_equal(blocks, want)


def test_a_long_vector_is_added_alike_in_parts(tier, ring):
    blocks, vector = ring((3200, 2)), ring((100, 2))
    parts = blocks.copy()
    kernels.lpn_(blocks, vector, seed=SEED, first=0)
    for part in (slice(0, 64), slice(64, 1600), slice(1600, 3200)):
        kernels.lpn_(parts[part], vector, seed=SEED, first=part.start)
    np.testing.assert_array_equal(blocks, parts)


@pytest.mark.parametrize("n", [0, 64, 128, 320])
@pytest.mark.parametrize("first", [0, 5, 1000])
def test_folding_blocks_equals_reference(tier, ring, n, first):
    blocks = ring((n, 2))
    got = kernels.block_fold(blocks, seed=SEED, first=first)
    np.testing.assert_array_equal(got, reference.block_fold(blocks, seed=SEED, first=first))


def test_folding_blocks_is_linear_and_adds_up(tier, ring):
    a, b = ring((640, 2)), ring((1280, 2))[640:]
    whole = kernels.block_fold(a ^ b, seed=SEED, first=64)
    np.testing.assert_array_equal(
        whole, kernels.block_fold(a, seed=SEED, first=64) ^ kernels.block_fold(b, seed=SEED, first=64)
    )
    parts = kernels.block_fold(a[:192], seed=SEED, first=64) ^ kernels.block_fold(a[192:], seed=SEED, first=256)
    np.testing.assert_array_equal(kernels.block_fold(a, seed=SEED, first=64), parts)


def test_threads(ring):
    n = 64 * 513
    keys, punctured, delta = trees(4)
    options = dict(words=513, k=4, purpose=0, transpose=False)
    coefficients, values = ring((513, 2)), ring(n).astype(np.uint32)

    def all_of_them():
        t, choices, message = kernels.vole_receive(keys, **options)
        q = kernels.vole_send(punctured, delta, message, **options)
        tags = kernels.vole_fold_(t, coefficients, choices), kernels.vole_fold_(q, coefficients)
        share, sent = kernels.ot_send(q, delta, values, bits=17, key=KEY, index=0, domain=0)
        got = kernels.ot_receive(t, choices, sent, bits=17, key=KEY, index=0, domain=0)
        bits = kernels.ot_bits(q, key=KEY, index=0, domain=1)
        kernels.ot_flip_(q, delta, choices)
        leaves, sums = kernels.trees_full(values.view(np.uint64)[:64].reshape(32, 2), delta, key=SEED, depth=10)
        fold = kernels.block_fold(leaves, seed=SEED, first=0)
        kernels.lpn_(leaves, t, seed=SEED, first=0)
        return t, choices, message, q, *tags, share, sent, got, bits, leaves, sums, fold

    with kernels.use(threads=1):
        want = all_of_them()
    with kernels.use(threads=3):
        for x, y in zip(all_of_them(), want, strict=True):
            np.testing.assert_array_equal(x, y)


Q = np.zeros((128, 2), np.uint64)
DELTA, PLANE, VALUES = Q[0], Q[0], np.zeros(128, np.uint32)
KEYS = np.zeros((512, 22), np.uint64)
TWEAK = dict(key=KEY, index=0, domain=0)
VOLE = dict(words=2, k=4, purpose=0, transpose=True)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.ot_bits(Q[:63], **TWEAK), ValueError, "blocks: .*64"),
        (lambda: kernels.ot_bits(Q.ravel(), **TWEAK), ValueError, "blocks"),
        (lambda: kernels.ot_bits(Q, key=KEY, index=-1, domain=0), ValueError, "index"),
        (lambda: kernels.ot_bits(Q, key=KEY, index=0, domain=2**64), ValueError, "domain"),
        (lambda: kernels.ot_bits(Q, **TWEAK, delta=Q), ValueError, "delta"),
        (lambda: kernels.ot_send(Q, DELTA, VALUES, bits=0, **TWEAK), ValueError, "bits"),
        (lambda: kernels.ot_send(Q, DELTA, VALUES, bits=65, **TWEAK), ValueError, "bits"),
        (lambda: kernels.ot_send(Q, DELTA, VALUES, bits=33, **TWEAK), TypeError, "values"),
        (lambda: kernels.ot_send(Q, DELTA, VALUES[1:], bits=32, **TWEAK), ValueError, "values"),
        (lambda: kernels.ot_receive(Q, DELTA[:1], VALUES, bits=1, **TWEAK), ValueError, "choices"),
        (lambda: kernels.ot_receive(Q, DELTA, Q[:9, 0], bits=4, **TWEAK), ValueError, "message"),
        (lambda: kernels.ot_flip_(Q.copy(), DELTA, Q[:3, 0]), ValueError, "plane"),
        (lambda: kernels.ot_flip_(Q, Q[0], PLANE.copy()), ValueError, "q: must not overlap delta"),
        (lambda: kernels.expand_keys(DELTA), ValueError, "seeds"),
        (lambda: kernels.vole_receive(KEYS, **{**VOLE, "k": 3}), ValueError, "k:"),
        (lambda: kernels.vole_receive(KEYS, **{**VOLE, "k": 2}), ValueError, "keys"),
        (lambda: kernels.vole_receive(KEYS, **{**VOLE, "words": -1}), ValueError, "words"),
        (lambda: kernels.vole_send(KEYS, DELTA, Q[:61, 0], **VOLE), ValueError, "message"),
        (lambda: kernels.vole_send(KEYS, Q, Q[:62, 0], **VOLE), ValueError, "delta"),
        (lambda: kernels.trees_full(Q, DELTA, key=SEED, depth=17), ValueError, "depth"),
        (lambda: kernels.trees_full(DELTA, DELTA, key=SEED, depth=3), ValueError, "roots"),
        (lambda: kernels.trees_full(Q, DELTA, key=b"short", depth=3), ValueError, "key"),
        (lambda: kernels.trees_lacking(Q, Q[:, 0].copy(), key=SEED), ValueError, "sums"),
        (lambda: kernels.trees_lacking(Q.reshape(32, 4, 2), Q[:31, 0].copy(), key=SEED), ValueError, "missing"),
        (lambda: kernels.lpn_(Q.copy(), Q, seed=SEED, first=3), ValueError, "first"),
        (lambda: kernels.lpn_(Q.copy(), Q[:0], seed=SEED, first=0), ValueError, "vector"),
        (lambda: kernels.lpn_(Q, Q[:3], seed=SEED, first=0), ValueError, "blocks: must not overlap vector"),
        (lambda: kernels.block_fold(Q[:3], seed=SEED, first=0), ValueError, "blocks"),
        (lambda: kernels.vole_fold_(Q, Q[:3]), ValueError, "coefficients"),
        (lambda: kernels.vole_fold_(Q, Q[:2].copy(), Q[:3, 0]), ValueError, "choices"),
        (lambda: kernels.vole_fold_(Q, Q[:2]), ValueError, "rows: must not overlap coefficients"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
