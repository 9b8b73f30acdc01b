import numpy as np
import pytest
from kernel_cases import SIZES

from autorep_fx import kernels
from autorep_fx.kernels import reference

SEED = bytes(range(16))

# Key, plaintext, ciphertext. FIPS-197 appendix B and C.1, and NIST SP 800-38A F.1.1 (ECB-AES128).
KNOWN = [
    ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
    ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a", "3ad77bb40d7a3660a89ecaf32466ef97"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "f69f2445df4f9b17ad2b417be66c3710", "7b0c785e27e8ad3f8223207104725dd4"),
]
# NIST, The Advanced Encryption Standard Algorithm Validation Suite: KeySbox and VarKey with 128 bits. The plaintext is
# zero, the first block of stream 0: key, ciphertext.
FIRST_BLOCKS = [
    ("10a58869d74be5a374cf867cfb473859", "6d251e6944b051e04eaa6fb4dbf78465"),
    ("caea65cdbb75e9169ecd22ebe6e54675", "6e29201190152df4ee058139def610bb"),
    ("a2e2fa9baf7d20822ca9f0542f764a41", "c3b44b95d9d2f25670eee9a0de099fa3"),
    ("80000000000000000000000000000000", "0edd33d3c621e546455bd8ba1418bec8"),
]


@pytest.mark.parametrize("key, plain, cipher", [*KNOWN, *((key, "00" * 16, cipher) for key, cipher in FIRST_BLOCKS)])
def test_known_answers_of_the_reference(key, plain, cipher):
    block, want = (np.frombuffer(bytes.fromhex(v), np.uint64) for v in (plain, cipher))
    np.testing.assert_array_equal(reference.aes(bytes.fromhex(key), block), want)


@pytest.mark.parametrize("key, cipher", FIRST_BLOCKS)
def test_known_answers(tier, key, cipher):
    got = kernels.prg_words(bytes.fromhex(key), 0, 2)
    np.testing.assert_array_equal(got, np.frombuffer(bytes.fromhex(cipher), np.uint64))


@pytest.mark.parametrize("n", [*SIZES, 511, 512, 513, 5000])
@pytest.mark.parametrize("purpose", [0, 7, 2**64 - 1])
def test_equals_reference(tier, n, purpose):
    np.testing.assert_array_equal(kernels.prg_words(SEED, purpose, n), reference.prg_words(SEED, purpose, n))


def test_a_shorter_stream_is_the_beginning_of_a_longer_one(tier):
    whole = kernels.prg_words(SEED, 3, 3000)
    for n in (1, 2, 511, 1025, 2999):
        np.testing.assert_array_equal(kernels.prg_words(SEED, 3, n), whole[:n])


def test_threads_make_the_same_stream(tier):
    with kernels.use(threads=1):
        want = kernels.prg_words(SEED, 0, 100_003)
    with kernels.use(threads=3):
        np.testing.assert_array_equal(kernels.prg_words(SEED, 0, 100_003), want)


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("n", [*SIZES, 511, 512, 513, 5000])
def test_weighed_sums_equal_the_reference(tier, ring, rows, n):
    values = ring((rows, n))
    np.testing.assert_array_equal(kernels.weigh(SEED, 7, values), reference.weigh(SEED, 7, values))


@pytest.mark.parametrize("shape", [*SIZES, 513, (3, 700)])
def test_tags_equal_the_reference(tier, ring, shape):
    values = ring(shape)
    for factor in (0, 1, 2**32 - 1, 2**64 - 1):
        got = kernels.tag_words(values, factor, SEED, 9)
        np.testing.assert_array_equal(got, reference.tag_words(values, factor, SEED, 9))


def test_threads_make_the_same_sums_and_tags(tier, ring):
    values = ring((2, 50_001))
    with kernels.use(threads=1):
        sums, tags = kernels.weigh(SEED, 1, values), kernels.tag_words(values, 5, SEED, 1)
    with kernels.use(threads=3):
        np.testing.assert_array_equal(kernels.weigh(SEED, 1, values), sums)
        np.testing.assert_array_equal(kernels.tag_words(values, 5, SEED, 1), tags)


@pytest.mark.parametrize("call, name", [
    (lambda: kernels.weigh(SEED, 0, np.zeros(3, np.uint64)), "values"),
    (lambda: kernels.weigh(SEED[:8], 0, np.zeros((1, 3), np.uint64)), "seed"),
    (lambda: kernels.tag_words(np.zeros(3, np.uint64), -1, SEED, 0), "factor"),
    (lambda: kernels.tag_words(np.zeros(3, np.uint64), 1, SEED, 2**64), "purpose"),
])  # fmt: skip
def test_bad_input_of_sums_and_tags_names_the_argument(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_streams_differ_and_look_uniform():
    a = kernels.prg_words(SEED, 0, 100_000)
    for other in (kernels.prg_words(SEED, 1, 100_000), kernels.prg_words(SEED[::-1], 0, 100_000)):
        assert not np.intersect1d(a, other).size
    ones = np.unpackbits(a.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(64 * a.size)  # five standard deviations


def test_shapes():
    np.testing.assert_array_equal(kernels.prg_words(SEED, 1, (3, 4)).ravel(), kernels.prg_words(SEED, 1, 12))
    assert kernels.prg_words(SEED, 0, (2, 0, 3)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.prg_words(b"short", 0, 4), ValueError, "seed"),
        (lambda: kernels.prg_words(SEED, 0, -1), ValueError, "shape"),
        (lambda: kernels.prg_words(SEED, -1, 4), ValueError, "purpose"),
        (lambda: kernels.prg_words(SEED, 1.5, 4), TypeError, "purpose:"),
        (lambda: kernels.prg_words("0" * 16, 1, 4), TypeError, "seed"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
