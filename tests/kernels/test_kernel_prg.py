import numpy as np
import pytest
from kernel_cases import SIZES

from autorep_fx import kernels
from autorep_fx.kernels import reference

SEED = bytes(range(16))

# FIPS-197 appendix B and C.1, and NIST SP 800-38A F.1.1 (ECB-AES128): key, plaintext, ciphertext.
KNOWN = [
    ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
    ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a", "3ad77bb40d7a3660a89ecaf32466ef97"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "f69f2445df4f9b17ad2b417be66c3710", "7b0c785e27e8ad3f8223207104725dd4"),
]


@pytest.mark.parametrize("key, plain, cipher", KNOWN)
def test_known_answers(tier, key, plain, cipher):
    counter, purpose = (int(v) for v in np.frombuffer(bytes.fromhex(plain), np.uint64))
    want = np.frombuffer(bytes.fromhex(cipher), np.uint64)
    np.testing.assert_array_equal(reference.aes(bytes.fromhex(key), np.array([counter, purpose], np.uint64)), want)
    if counter < 2**63 - 1:  # the word offset, 2 * counter, is a 64-bit number
        got = kernels.prg_words(bytes.fromhex(key), purpose, 2, 2 * counter)
        np.testing.assert_array_equal(got, want)


def test_known_answer_is_reached_on_every_tier():
    assert any(int(np.frombuffer(bytes.fromhex(p), np.uint64)[0]) < 2**63 - 1 for _, p, _ in KNOWN)


@pytest.mark.parametrize("n", [*SIZES, 511, 512, 513, 5000])
@pytest.mark.parametrize("offset", [0, 1, 2, 31, 33])
def test_equals_reference(tier, n, offset):
    want = reference.prg_words(SEED, 7, n, offset)
    np.testing.assert_array_equal(kernels.prg_words(SEED, 7, n, offset), want)


def test_a_stretch_is_the_same_on_its_own(tier):
    whole = kernels.prg_words(SEED, 3, 3000)
    for start, stop in [(0, 1), (1, 2), (5, 2000), (1023, 1025), (2999, 3000)]:
        np.testing.assert_array_equal(kernels.prg_words(SEED, 3, stop - start, start), whole[start:stop])


def test_threads_make_the_same_stream(tier):
    with kernels.use(threads=1):
        want = kernels.prg_words(SEED, 0, 100_003, 5)
    with kernels.use(threads=3):
        np.testing.assert_array_equal(kernels.prg_words(SEED, 0, 100_003, 5), want)


def test_streams_differ_and_look_uniform():
    a = kernels.prg_words(SEED, 0, 100_000)
    for other in (kernels.prg_words(SEED, 1, 100_000), kernels.prg_words(SEED[::-1], 0, 100_000)):
        assert not np.intersect1d(a, other).size
    ones = np.unpackbits(a.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(64 * a.size)  # five standard deviations


def test_shape_and_in_place():
    out = np.empty((3, 4), np.int64)
    assert kernels.prg_words(SEED, 1, (3, 4), out=out) is out
    np.testing.assert_array_equal(out.view(np.uint64).ravel(), kernels.prg_words(SEED, 1, 12))
    assert kernels.prg_words(SEED, 0, (2, 0, 3)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.prg_words(b"short", 0, 4), ValueError, "seed"),
        (lambda: kernels.prg_words(SEED, 0, -1), ValueError, "shape"),
        (lambda: kernels.prg_words(SEED, 0, 4, 2**64 - 2), ValueError, "offset"),
        (lambda: kernels.prg_words(SEED, -1, 4), ValueError, "purpose"),
        (lambda: kernels.prg_words(SEED, 1.5, 4), TypeError, "purpose:"),
        (lambda: kernels.prg_words("0" * 16, 1, 4), TypeError, "seed"),
        (lambda: kernels.prg_words(SEED, 0, 4, out=np.zeros(5, np.uint64)), ValueError, "out"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
