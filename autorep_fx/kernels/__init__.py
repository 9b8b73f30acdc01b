"""The compiled kernels: arithmetic in Z_2^64, AES streams, comparison keys, bit-sliced comparison.

Importing this package never fails. Where the extension was not built, calling anything that needs it raises
`MissingDependency` with the command that builds it; `available()` asks first. `autorep_fx.kernels.reference` holds
NumPy versions of everything, with the same signatures and the same results bit for bit.

Common to all functions: ring elements are `uint64` or `int64` (the same bits); a result has the signedness of the
first array. Arrays must have native byte order; a non-contiguous input is copied, a non-contiguous `out` is refused.
Anything with NumPy's array protocol is taken, so a CPU torch tensor is read in place. Wrong types raise `TypeError`,
wrong shapes or ranges `ValueError`, both naming the argument. Python's lock is released while a kernel runs.

The kernels exist in several tiers (portable, avx2, avx512). The best one that the machine has is used, unless the
environment variable `AUTOREP_FX_CPU` or `set_tier` names another; an unsupported one is an error.
"""

from __future__ import annotations

import contextlib
import importlib

import numpy as np

from ..errors import MissingDependency

_ABI = 1
_extension = None

_FUNCTIONS = (
    "beaver_square",
    "conv2d",
    "dcf_words",
    "eval_dcf",
    "gen_dcf",
    "linear",
    "matmul",
    "pack_weight",
    "prg_add",
    "prg_sub",
    "prg_words",
    "prg_xor",
)

__all__ = [*_FUNCTIONS, "available", "available_tiers", "num_threads", "set_num_threads", "set_tier", "tier", "use"]


def _load():
    """The compiled extension, loaded at first use."""
    global _extension
    if _extension is None:
        hint = "build it with `pip install -e . --no-build-isolation` or `make build`"
        try:
            module = importlib.import_module("._C", __package__)
        except ImportError as error:
            raise MissingDependency(f"autorep_fx's compiled kernels are not installed ({error}); {hint}") from error
        if module.abi != _ABI:
            raise MissingDependency(f"autorep_fx's compiled kernels are of another version; {hint}")
        _extension = module
    return _extension


def available() -> bool:
    """True where the compiled extension can be used."""
    try:
        _load()
    except MissingDependency:
        return False
    return True


def available_tiers() -> list[str]:
    """CPU tiers that were built and that this machine can run, slowest first."""
    return _load().available_tiers()


def tier() -> str:
    """The tier in use. Raises ValueError if `AUTOREP_FX_CPU` names one that is unknown or unsupported here."""
    return _load().tier()


def set_tier(name: str) -> None:
    """Use this tier from now on, in the whole process. Raises ValueError if it is unknown or unsupported here."""
    _load().set_tier(name)


def num_threads() -> int:
    """Threads that a kernel may use; at first OpenMP's default (`OMP_NUM_THREADS`). A forked child has 1."""
    return _load().num_threads()


def set_num_threads(n: int) -> None:
    """Let kernels use up to `n` threads (1 to 1024). Small inputs use fewer."""
    _load().set_num_threads(n)


@contextlib.contextmanager
def use(*, tier: str | None = None, threads: int | None = None):
    """Within the block, use this tier and this many threads. For tests and benchmarks: the setting is process-wide."""
    ext = _load()
    before = ext.tier(), ext.num_threads()
    try:
        if tier is not None:
            ext.set_tier(tier)
        if threads is not None:
            ext.set_num_threads(threads)
        yield
    finally:
        ext.set_tier(before[0])
        ext.set_num_threads(before[1])


def beaver_square(epsilon, r, r2, offset=None, *, frac_bits, party, out=None):
    """This party's share of a fixed-point square plus a constant, in CrypTen's form, in one pass over memory.

    1. The parties hold `[x]` and the correlation `[r]`, `[r^2]`, and have opened `epsilon = x - r`.
    2. `v = r2 + 2 * epsilon * r`, and party 0 adds `epsilon^2`: shares of `x^2` with exponent `2 * frac_bits`.
    3. Each party divides its share by `2**frac_bits`, signed and rounded towards zero, and adds its share `offset`.

    epsilon, r, r2: ring arrays of one shape. offset: None, or this party's share of a constant, broadcast over them
    (its dimensions other than 1 must be adjacent: a scalar, `(C, 1, 1)`, `(C, H, W)`, the full shape). frac_bits: 0
    to 62. party: 0 or 1. out: written in place and returned; may be epsilon, r or r2.

    Error: the local division is off by at most one unit of `2**-frac_bits` per party, and by `2**(64 - frac_bits)` with
    probability about `|v| / 2**63` (CrypTen's own truncation; the masked-wire step has none of this).
    Source: CrypTen 0.4.1, `mpc/primitives/beaver.py::square` and `arithmetic.py::div_`.
    """
    return _load().beaver_square(epsilon, r, r2, offset, frac_bits=frac_bits, party=party, out=out)


def prg_words(seed, purpose, shape, offset=0, *, out=None):
    """Pseudo-random ring elements: words `offset ...` of the stream named (seed, purpose).

    Word `w` is word `w % 2` of AES-128 under the key `seed` of the block (counter `w // 2`, purpose), so any stretch of
    any stream can be made on its own, in any order, by everyone who has the seed.

    seed: 16 bytes, secret. purpose: 0 to 2**64 - 1; streams of different purpose are independent. shape: int or tuple.
    offset: first word. Returns uint64 of that shape. Security: AES-128 in counter mode, at most 2**64 words a stream;
    indistinguishable from random up to about 2**64 blocks. Source: FIPS-197; NIST SP 800-38A, section 6.5.
    """
    return _load().prg_words(seed, purpose, offset, _shape(shape), out)


def prg_add(a, seed, purpose, offset=0, *, out=None):
    """`a + prg_words(seed, purpose, a.shape, offset)` in one pass. out may be a. See `prg_words`."""
    return _load().prg_add(a, seed, purpose, offset, out)


def prg_sub(a, seed, purpose, offset=0, *, out=None):
    """`a - prg_words(seed, purpose, a.shape, offset)` in one pass: the other party's half. out may be a."""
    return _load().prg_sub(a, seed, purpose, offset, out)


def prg_xor(a, seed, purpose, offset=0, *, out=None):
    """`a ^ prg_words(seed, purpose, a.shape, offset)` in one pass, for XOR shares. out may be a."""
    return _load().prg_xor(a, seed, purpose, offset, out)


def pack_weight(weight, *, groups=1, weight_bits=64):
    """The weights of a convolution or a linear map, laid out for `conv2d` and `linear`; packed once, used many times.

    weight: (outputs, inputs / groups, height, width) for `conv2d`, (outputs, inputs) for `linear`; 64-bit integers for
    the ring Z_2^64, 32-bit ones for Z_2^32. weight_bits: 16, 32 or 64: how wide, signed, the weights are stored. It is
    a public promise about all of them (a trained layer's fixed-point weights fit 16 bits) that saves memory traffic in
    layers with more weights than pixels; ValueError if one does not fit. Masks and shares need 64.

    Returns a `PackedWeight` (shape, groups, ring_bits, weight_bits, nbytes). It is the same on every tier.
    """
    return _load().pack_weight(weight, groups, weight_bits)


def conv2d(x, weight, *, stride=1, padding=0, dilation=1, bias=None, add=None, out=None):
    """Convolution in the ring: `conv(x, weight) + bias + add`, modulo 2^64 or 2^32.

    x: (batch, channels, height, width), of the ring that `weight` (a `PackedWeight` of 4 dimensions) was packed for.
    stride, padding, dilation: an int or a pair; padding is zeros. bias: (outputs,) or None. add: an array shaped like
    the result, or None (a share that is added anyway costs no pass of its own here; may be `out`). out: must not be x.
    Exact. Each product takes one 64-bit multiplication; nothing is unfolded in memory but the zero border.
    """
    ext = _load()
    _need_packed(ext, weight)
    return ext.conv2d(
        x, weight, _pair(stride, "stride"), _pair(padding, "padding"), _pair(dilation, "dilation"), bias, add, out
    )


def linear(x, weight, *, bias=None, add=None, out=None):
    """`x @ weight.T + bias + add` in the ring. x: (batch, inputs); weight: `PackedWeight` of 2 dimensions."""
    ext = _load()
    _need_packed(ext, weight)
    return ext.linear(x, weight, bias, add, out)


def matmul(a, b, *, add=None, out=None):
    """`a @ b + add` in the ring, a: (m, k), b: (k, n). Packs b each time; `pack_weight` and `linear` do so once."""
    b = np.asarray(b)
    if b.ndim != 2:
        raise ValueError(f"b: expected 2 dimensions, got shape {b.shape}")
    return linear(a, pack_weight(b.T), add=add, out=out)


def gen_dcf(alpha, payload, root0, root1, *, bits, out=None):
    """Keys of distributed comparison functions: shares of `payload * [x < alpha]` at a point chosen later. Dealer.

    alpha: (n,), below `2**bits`. payload: (n, 1 to 3) ring elements. root0, root1: (n, 2) uniform words, party 0's and
    party 1's secrets, e.g. `prg_words(seed, purpose, (n, 2))` with a seed that the dealer shares with that party, so that
    roots cost no traffic (127 of the 128 bits count). bits: 1 to 63.

    Returns the key, common to both parties: uint64, `dcf_words(n, bits=bits, payloads=...)` long, 784 bytes an element at
    19 bits and three payloads plus the padding to 16 elements. It is of use only together with a root. A key must be
    evaluated at one point only per element.

    What it says: one party's root and the key are indistinguishable from random for the other's alpha and payload, under
    the correlation robustness of fixed-key AES with 127-bit seeds. bits, n and the number of payloads are public. Keys
    are the same on every tier. Source: Boyle et al., EUROCRYPT 2021 (ePrint 2020/1392), figure 1.
    """
    return _load().gen_dcf(alpha, payload, root0, root1, bits, out)


def eval_dcf(key, root, x, *, party, out=None):
    """This party's additive share of `payload * [x < alpha]`, uint64 of shape (n, payloads). No communication.

    key: from `gen_dcf`. root: this party's (n, 2) words. x: (n,), the public points, below `2**bits`. party: 0 or 1.
    Which words are read does not depend on x, alpha or the roots. ValueError for a key of another version or length.
    """
    return _load().eval_dcf(key, root, x, party, out)


def dcf_words(n, *, bits, payloads=3):
    """Length in 64-bit words of a key for `n` elements."""
    return _load().dcf_words(n, bits, payloads)


def _need_packed(ext, weight):
    if not isinstance(weight, ext.PackedWeight):
        raise TypeError(f"weight: expected the result of pack_weight, got {type(weight).__name__}")


def _pair(value, name):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) for v in pair):
        raise TypeError(f"{name}: expected an int or a pair of ints, got {value!r}")
    return pair


def _shape(shape):
    return [shape] if isinstance(shape, int) else list(shape)
