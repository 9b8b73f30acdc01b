"""Oblivious transfer: the hash, and what is made of correlated blocks."""

from __future__ import annotations

import numpy as np

from ..masked import U64
from .bits import pack_bits, unpack_bits
from .prg import aes

#: The key of the fixed permutation: the first 16 bytes of SHA-256("autorep_fx: oblivious transfer").
HASH_KEY = bytes.fromhex("1b7b0ea32d8ca8a3507bb61808d3cf90")


def tweaked_hash(blocks, index, domain):
    """TMMO: `p(p(x) ^ tweak) ^ p(x)`, p AES-128 under HASH_KEY, of (n, 2) blocks; tweak i is (index + i, domain)."""
    inner = aes(HASH_KEY, blocks)
    tweak = np.empty_like(inner)
    tweak[:, 0] = U64(index) + np.arange(len(blocks), dtype=U64)
    tweak[:, 1] = domain
    return aes(HASH_KEY, inner ^ tweak) ^ inner


def ot_bits(blocks, *, index, domain, delta=None):
    blocks = blocks if delta is None else blocks ^ delta
    return pack_bits(tweaked_hash(blocks, index, domain)[:, 0], bits=1)[0]


def ot_send(q, delta, values, *, bits, index, domain):
    ring, mask = np.uint32 if bits <= 32 else U64, U64(2**bits - 1)
    zero, one = (tweaked_hash(x, index, domain)[:, 0] for x in (q, q ^ delta))
    message = (zero - one + values.view(f"u{values.itemsize}").astype(U64)) & mask
    return (-zero & mask).astype(ring), _packed(message, bits)


def ot_receive(t, choices, message, *, bits, index, domain):
    ring, mask = np.uint32 if bits <= 32 else U64, U64(2**bits - 1)
    chosen = unpack_bits(choices[None], len(t))
    share = tweaked_hash(t, index, domain)[:, 0] + chosen * _unpacked(message, bits, len(t))
    return (share & mask).astype(ring)


def ot_flip_(q, delta, plane):
    q ^= delta * unpack_bits(plane[None], len(q))[:, None]


def _packed(values, bits):
    """A stream of bits: number i at bits i * bits and up, 64 bits a word."""
    one = (values[:, None] >> np.arange(bits, dtype=U64)) & U64(1)
    return pack_bits(one.ravel(), bits=1)[0]


def _unpacked(words, bits, n):
    one = unpack_bits(words[None], n * bits).reshape(n, bits)
    return (one << np.arange(bits, dtype=U64)).sum(1, dtype=U64)
