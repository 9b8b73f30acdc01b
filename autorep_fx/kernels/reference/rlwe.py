"""Linear maps under encryption: whole numbers of Python where the kernels have words, and residues alike."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from ...text import brief
from ..masked import U64
from ..rlwe import rlwe_primes
from .common import need_apart
from .prg import prg_words

_NOISE_BITS = 21


@functools.cache
def _roots(width):
    """For each prime: powers of a root of X^degree + 1 in bit-reversed order, and of its inverse."""
    n, primes = rlwe_primes(width)
    reverse = np.zeros(1, np.int64)
    for _ in range(n.bit_length() - 1):
        reverse = np.concatenate([2 * reverse, 2 * reverse + 1])
    found = []
    for p in primes:
        root = next(r for g in range(2, p) if pow(r := pow(g, (p - 1) // (2 * n), p), n, p) == p - 1)
        powers = [np.array(list(_powers(r, n, p)), U64)[reverse] for r in (root, pow(root, -1, p))]
        found.append(powers)
    return found


def _powers(base, count, p):
    value = 1
    for _ in range(count):
        yield value
        value = value * base % p


def _column(primes):
    return np.array(primes, U64)[:, None]


def _ntt(x, width):
    """Values at the roots of coefficients (..., primes, degree) modulo the primes."""
    n, primes = rlwe_primes(width)
    x = x.astype(U64)
    for j, (p, (powers, _)) in enumerate(zip(primes, _roots(width))):
        m, p = 1, U64(p)
        while m < n:
            a = x[..., j, :].reshape(*x.shape[:-2], m, 2, n // (2 * m))
            u, v = a[..., 0, :], a[..., 1, :] * powers[m : 2 * m, None] % p
            x[..., j, :] = np.stack([(u + v) % p, (u + p - v) % p], -2).reshape(*x.shape[:-2], n)
            m *= 2
    return x


def _intt(x, width):
    n, primes = rlwe_primes(width)
    x = x.astype(U64)
    for j, (p, (_, powers)) in enumerate(zip(primes, _roots(width))):
        m, shrink, p = n // 2, U64(pow(n, -1, p)), U64(p)
        while m:
            a = x[..., j, :].reshape(*x.shape[:-2], m, 2, n // (2 * m))
            u, v = a[..., 0, :], a[..., 1, :]
            x[..., j, :] = np.stack([(u + v) % p, (u + p - v) * powers[m : 2 * m, None] % p], -2).reshape(
                *x.shape[:-2], n
            )
            m //= 2
        x[..., j, :] = x[..., j, :] * shrink % p
    return x


def _residues(small, width):
    """Signed whole numbers (..., degree) modulo the primes."""
    return np.stack([np.mod(small.astype(np.int64), p).astype(U64) for p in rlwe_primes(width)[1]], -2)


def rlwe_uniform(seed, first, polynomials, *, width):
    n, primes = rlwe_primes(width)
    out = np.empty((polynomials, len(primes), n), np.uint32)
    for i in range(polynomials):
        for j, p in enumerate(primes):
            stream = prg_words(seed, 8 * (first + i) + j, n // 2 + 512).view(np.uint32) & np.uint32(2**27 - 1)
            row, spare = stream[:n].copy(), stream[n:]
            beyond = np.flatnonzero(row >= p)
            row[beyond] = spare[spare < p][: len(beyond)]
            out[i, j] = row
    return out


def _words(seed, first, polynomials, width):
    n = rlwe_primes(width)[0]
    rows = [prg_words(seed, first + i, n) for i in range(polynomials)]
    return np.stack(rows) if rows else np.empty((0, n), U64)


def rlwe_ternary(seed, first, polynomials, *, width):
    w = _words(seed, first, polynomials, width)
    low, high = U64(3) * (w & U64(2**32 - 1)), U64(3) * (w >> U64(32))
    return (((high + (low >> U64(32))) >> U64(32)).astype(np.int8) - 1).astype(np.int8)


def rlwe_noise(seed, first, polynomials, *, width):
    w = _words(seed, first, polynomials, width)
    ones = [
        sum((w >> U64(start + i) & U64(1)).astype(np.int8) for i in range(_NOISE_BITS)) for start in (0, _NOISE_BITS)
    ]
    return (ones[0] - ones[1]).astype(np.int8)


def rlwe_forward(small, *, width):
    return _ntt(_residues(np.asarray(small), width), width).astype(np.uint32)


def rlwe_inverse(values, *, width):
    return _intt(np.asarray(values), width).astype(np.uint32)


def rlwe_public(secret, other, noise_seed, *, width):
    primes = _column(rlwe_primes(width)[1])
    noise = _ntt(_residues(rlwe_noise(noise_seed, 0, 1, width=width)[0], width), width)
    return ((noise + primes - secret.astype(U64) * other % primes) % primes).astype(np.uint32)


def whole_numbers(residues, primes):
    """The numbers modulo the product of the primes (objects) that residues (..., primes, degree) stand for."""
    q = math.prod(primes)
    rest = [q // p * pow(q // p, -1, p) for p in primes]
    return sum(residues[..., j, :].astype(object) * r for j, r in enumerate(rest)) % q


def _torus(coefficients, width, bits):
    """X / q modulo 1 in units of 2^-bits, as the kernels round it, of coefficients (..., primes, degree)."""
    primes = rlwe_primes(width)[1]
    q = math.prod(primes)
    whole, part = 0, 1 << 31
    for j, p in enumerate(primes):
        y = (coefficients[..., j, :] * U64(pow(q // p, -1, p)) % U64(p)).astype(object)
        quotient = (1 << (bits + 32)) // p
        whole, part = whole + y * (quotient >> 32), part + y * (quotient & (2**32 - 1))
    return (whole + (part >> 32)) % 2**bits


def _cut(coefficients, width, kept):
    """The ``kept`` highest bits of X / q, rounded."""
    bits = 64 if width == 32 and kept <= 64 else 128
    torus = _torus(coefficients, width, bits)
    return ((torus + ((1 << (bits - kept)) >> 1)) >> (bits - kept)) % 2**kept


def rlwe_encrypt(plain, secret, *, public_seed, noise_seed, first=0, low_words=1):
    plain = np.asarray(plain)
    width, count = 8 * plain.itemsize, len(plain)
    primes = rlwe_primes(width)[1]
    column = _column(primes)
    c1 = rlwe_uniform(public_seed, first, count, width=width)
    noise = _residues(rlwe_noise(noise_seed, first, count, width=width), width)
    product = _intt(c1.astype(U64) * secret % column, width)
    c0 = (noise + column - product) % column
    v = _cut(c0, width, width + 32 * low_words)
    ring = np.dtype(f"u{width // 8}")
    high = (v >> 32 * low_words).astype(ring) + plain.view(ring)
    low = [(v >> 32 * (low_words - 1 - i) & (2**32 - 1)).astype(np.uint32) for i in range(low_words)]
    return high, np.stack(low, -2)


@dataclasses.dataclass(frozen=True)
class RlweWeight:
    values: np.ndarray
    positions: np.ndarray
    width: int
    stored_bytes: int = 0

    __repr__ = brief


def rlwe_weight(values, positions, *, width, memory=0):
    return RlweWeight(np.asarray(values).view(f"i{np.asarray(values).itemsize}"), np.asarray(positions), width)


def weight_residues(weight):
    """Values at the roots of the weights' polynomials: (groups, outputs, inputs, primes, degree)."""
    n, primes = rlwe_primes(weight.width)
    out = np.zeros((*weight.values.shape[:3], len(primes), n), U64)
    for j, p in enumerate(primes):
        for k, position in enumerate(weight.positions):
            sign = -1 if position >= n else 1
            out[..., j, position % n] += (sign * np.mod(weight.values[..., k].astype(np.int64), p) % p).astype(U64)
        out[..., j, :] %= U64(p)
    return _ntt(out, weight.width)


def received(high, low, width):
    """c0 modulo the primes, coefficients (..., primes, degree), of what a client sent: see csrc/rlwe/torus.h."""
    q, primes = math.prod(rlwe_primes(width)[1]), rlwe_primes(width)[1]
    words = low.shape[-2]
    digits = [low[..., words - 1 - d, :] for d in range(words)]
    digits += [(high >> high.dtype.type(32 * d)) & high.dtype.type(2**32 - 1) for d in range(width // 32)]
    total = 0
    for d, digit in enumerate(digits):
        shift = 32 * (len(digits) - d)
        total = (
            total
            + digit.astype(object) * (q >> shift)
            + (digit.astype(object) * (q >> (shift - 32) & (2**32 - 1)) >> 32)
        )
    return np.stack([(total % p).astype(U64) for p in primes], -2)


def answered(high, low, weight, public, *, public_seed, seed):
    """X and Y of csrc/rlwe/respond.h, coefficients modulo the primes, (samples, groups, outputs, primes, degree)."""
    width = weight.width
    samples, groups, inputs, n = high.shape
    outputs = weight.values.shape[1]
    column = _column(rlwe_primes(width)[1])
    c1 = rlwe_uniform(public_seed, 0, samples * groups * inputs, width=width).reshape(samples, groups, inputs, -1, n)
    c = np.stack([_ntt(received(high, low, width), width), c1.astype(U64)], 3)  # samples, groups, inputs, 2, primes, n
    w = weight_residues(weight)
    count = samples * groups * outputs
    drawn = [sampler(seed, 2 * i + which, 1, width=width)[0] for i in range(count)
             for which, sampler in enumerate((rlwe_ternary, rlwe_noise))]  # fmt: skip
    small = _residues(np.array(drawn).reshape(samples, groups, outputs, 2, n), width)
    u, e = _ntt(small[..., 0, :, :], width), small[..., 1, :, :]
    parts = []
    for part in range(2):
        total = u * public[part] % column
        for i in range(inputs):
            total = (total + c[:, :, None, i, part] * w[None, :, :, i]) % column
        parts.append(_intt(total, width))
    return parts[0], (parts[1] + e) % column


def rlwe_room(weight, samples):
    return 0


def rlwe_respond(high, low, weight, public, *, public_seed, seed, room=None):
    need_apart({"room": room}, {"high": high, "low": low, "public": public})
    width, ring = weight.width, np.dtype(f"u{weight.width // 8}")
    high, low = np.asarray(high).view(ring), np.asarray(low).view(np.uint32)
    x, y = answered(high, low, weight, np.asarray(public), public_seed=public_seed, seed=seed)
    answer = _cut(y, width, width + 8)
    share = _cut(x, width, width).astype(ring)
    return share, (answer >> 8).astype(ring), (answer & 255).astype(np.uint8)


def rlwe_decrypt(high, low, secret):
    high = np.asarray(high)
    width = 8 * high.itemsize
    primes = rlwe_primes(width)[1][: 2 if width == 32 else 4]
    n, every = rlwe_primes(width)[0], rlwe_primes(width)[1]
    answer = high.view(f"u{width // 8}").astype(object) * 256 + low
    residues = np.stack([(answer % p).astype(U64) for p in every], -2)
    product = _intt(_ntt(residues, width) * secret % _column(every), width)
    whole = whole_numbers(product[..., : len(primes), :], primes)
    modulus = math.prod(primes)
    signed = np.where(whole > modulus // 2, whole - modulus, whole)
    return ((signed + 128 >> 8) % 2**width).astype(f"u{width // 8}").reshape(-1, n)
