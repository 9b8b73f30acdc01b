"""Pseudo-random streams of ring elements. See the package for what is common to all functions."""

from __future__ import annotations

from .extension import load


def prg_words(seed, purpose, shape):
    """Pseudo-random ring elements: the first words of the stream named (seed, purpose).

    Word `w` is word `w % 2` of AES-128 under the key `seed` of the block (counter `w // 2`, purpose). Everyone who
    has the seed can make any stream, in any order.

    seed: 16 bytes, secret. purpose: 0 to 2**64 - 1; streams of different purpose are independent. shape: int or tuple.
    Returns uint64 of that shape. Security: AES-128 in counter mode; indistinguishable from random up to about 2**64
    blocks. Source: FIPS-197; NIST SP 800-38A, section 6.5.
    """
    return load().prg_words(seed, purpose, _shape(shape))


def weigh(seed, purpose, values):
    """Sums of numbers, each weighted by a word of a stream: `(prg_words(seed, purpose, n) * values).sum(1)`.

    values: (rows, n), 64-bit. Returns (rows,), modulo 2^64. The stream is used as it is made, and kept nowhere.
    """
    return load().weigh(seed, purpose, values)


def tag_words(values, factor, seed, purpose):
    """`factor * values + prg_words(seed, purpose, values.shape)`, modulo 2^64: a tag of each number, under a key.

    values: 64-bit, of any shape. factor: 0 to 2**64 - 1.
    """
    return load().tag_words(values, factor, seed, purpose)


def _shape(shape):
    return [shape] if isinstance(shape, int) else list(shape)
