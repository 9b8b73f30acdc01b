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


def _shape(shape):
    return [shape] if isinstance(shape, int) else list(shape)
