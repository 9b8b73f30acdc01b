"""Oblivious transfer: the hash, and what is made of correlated blocks."""

from __future__ import annotations

import numpy as np

from ..masked import U64
from .bits import pack_bits, unpack_bits
from .common import deliver, need_apart
from .prg import _round_keys, aes, prg_words


def tweaked_hash(blocks, key, index, domain):
    """TMMO: `p(p(x) ^ tweak) ^ p(x)`, p AES-128 under the key, of (n, 2) blocks; tweak i is (index + i, domain)."""
    inner = aes(key, blocks)
    tweak = np.empty_like(inner)
    tweak[:, 0] = U64(index) + np.arange(len(blocks), dtype=U64)
    tweak[:, 1] = domain
    return aes(key, inner ^ tweak) ^ inner


def ot_bits(blocks, *, key, index, domain, delta=None, bits=1):
    blocks = blocks if delta is None else blocks ^ delta
    return pack_bits(tweaked_hash(blocks, key, index, domain)[:, 0], bits=bits)


def ot_send(q, delta, values, *, bits, key, index, domain):
    ring, mask = np.uint32 if bits <= 32 else U64, U64(2**bits - 1)
    zero, one = (tweaked_hash(x, key, index, domain)[:, 0] for x in (q, q ^ delta))
    message = (zero - one + values.view(f"u{values.itemsize}").astype(U64)) & mask
    return (-zero & mask).astype(ring), _packed(message, bits)


def ot_receive(t, choices, message, *, bits, key, index, domain):
    ring, mask = np.uint32 if bits <= 32 else U64, U64(2**bits - 1)
    chosen = unpack_bits(choices[None], len(t))
    share = tweaked_hash(t, key, index, domain)[:, 0] + chosen * _unpacked(message, bits, len(t))
    return (share & mask).astype(ring)


def ot_flip_(q, delta, plane):
    need_apart({"q": q}, {"delta": delta, "plane": plane})
    q ^= delta * unpack_bits(plane[None], len(q))[:, None]


def expand_keys(seeds):
    return np.array([_round_keys(seed.tobytes()).reshape(-1) for seed in seeds], np.uint8).reshape(-1, 176).view(U64)


def vole_receive(keys, *, words, k, purpose, transpose, out=None):
    need_apart({"out": out}, {"keys": keys})
    sums, rows = _leaf_sums(keys, words, k, purpose)
    message = _chunked(sums[1:] ^ sums[0])
    return deliver(_blocks(rows) if transpose else _chunked(rows).reshape(-1, 2), out), sums[0], message


def vole_send(keys, delta, message, *, words, k, purpose, transpose, out=None, coefficients=None):
    need_apart({"out": out}, {"keys": keys, "delta": delta, "message": message, "coefficients": coefficients})
    _, rows = _leaf_sums(keys, words, k, purpose, first=1)
    chosen = unpack_bits(delta[None], 128).reshape(-1, k, 1)
    rows[k:] ^= (chosen[1:] * _unchunked(message, 128 // k - 1, words)[:, None]).reshape(128 - k, words)
    blocks = deliver(_blocks(rows) if transpose else _chunked(rows).reshape(-1, 2), out)
    if coefficients is None:
        return blocks
    if not transpose:
        raise ValueError("transpose: must be True where there are coefficients")
    return blocks, _tags(rows, coefficients, None)


def vole_fold_(rows, coefficients, choices=None):
    need_apart({"rows": rows}, {"coefficients": coefficients, "choices": choices})
    each = _unchunked(rows.ravel(), 128, len(rows) // 64)
    rows[...] = _blocks(each)
    return _tags(each, coefficients, choices)


def trees_full(roots, delta, *, key, depth, out=None):
    need_apart({"out": out}, {"roots": roots, "delta": delta})
    nodes, sums = np.stack([roots, roots ^ delta], 1), [roots]
    for _ in range(1, depth):
        nodes = _children(nodes, key)
        sums.append(np.bitwise_xor.reduce(nodes[:, ::2], 1))
    nodes[..., 0] &= ~U64(1)
    return deliver(nodes.reshape(-1, 2), out), np.stack(sums, 1)


def trees_lacking(sums, missing, *, key, out=None):
    need_apart({"out": out}, {"sums": sums, "missing": missing})
    every, depth = np.arange(len(sums)), sums.shape[1]
    missing = missing.astype(np.int64)
    nodes = np.zeros((len(sums), 2, 2), U64)
    for level in range(depth):
        here = missing >> (depth - 1 - level)
        if level:
            nodes = _children(nodes, key)
        nodes[every, here] = nodes[every, here ^ 1] = 0
        side = nodes.reshape(len(sums), -1, 2, 2)[every, :, (here ^ 1) & 1]
        nodes[every, here ^ 1] = sums[:, level] ^ np.bitwise_xor.reduce(side, 1)
    nodes[every, missing] = np.bitwise_xor.reduce(nodes, 1)
    nodes[..., 0] &= ~U64(1)
    nodes[every, missing, 0] |= U64(1)
    return deliver(nodes.reshape(-1, 2), out)


def lpn_(blocks, vector, *, seed, first):
    need_apart({"blocks": blocks}, {"vector": vector})
    random = prg_words(seed, 0, (first + len(blocks)) * 5)[first * 5 :].view(np.uint32)
    entries = random.astype(U64) * U64(len(vector)) >> U64(32)
    blocks ^= np.bitwise_xor.reduce(vector[entries.reshape(-1, 10)], 1)


def block_fold(blocks, *, seed, first):
    coefficients = prg_words(seed, 0, (first + len(blocks), 2))[first:]
    marked = np.bitwise_xor.reduce(coefficients * (blocks[:, :1] & U64(1)), 0)
    total = _folded(blocks[:, 0], coefficients)
    return np.stack([total ^ _times_x64(_folded(blocks[:, 1], coefficients)), marked])


def _times_x64(element):
    return _folded(element, np.array([[0, 1], [0x87, 0]], U64))  # x^64, and x^64 x^64


def _children(nodes, key):
    mixed = np.stack([nodes[..., 1], nodes[..., 0] ^ nodes[..., 1]], -1)
    left = aes(key, mixed) ^ mixed
    return np.stack([left, left ^ nodes], 2).reshape(len(nodes), -1, 2)


def _leaf_sums(keys, words, k, purpose, first=0):
    """Of each tree the sum of all leaves, and a row for each bit: the sum of the leaves whose number has it."""
    trees = keys[:, :2].reshape(128 // k, 2**k, 2)
    leaves = np.stack([[prg_words(seed.tobytes(), purpose, words) for seed in tree] for tree in trees])
    number = np.arange(2**k)
    rows = [[np.bitwise_xor.reduce(tree[number >> b & 1 == 1], 0) for b in range(k)] for tree in leaves]
    return np.bitwise_xor.reduce(leaves[:, first:], 1), np.reshape(np.array(rows, U64), (128, words))


def _chunked(rows):
    """Rows eight words at a time, each time all of them; what is left over is a last, shorter time."""
    return np.concatenate([np.zeros(0, U64), *(rows[:, i : i + 8].ravel() for i in range(0, rows.shape[1], 8))])


def _unchunked(stream, rows, words):
    chunks = np.split(stream, [rows * i for i in range(8, words, 8)])
    return np.concatenate([chunk.reshape(rows, -1) for chunk in chunks], 1)


def _blocks(rows):
    """Column j of 128 rows is block j, row i its bit i."""
    bits = np.stack([unpack_bits(row[None], 64 * len(row)) for row in rows], 1)
    return pack_bits(bits.ravel(), bits=1).reshape(-1, 2)


def _tags(rows, coefficients, choices):
    last = np.zeros((1, rows.shape[1]), U64) if choices is None else choices[None]
    return np.stack([_folded(row, coefficients) for row in [*rows, *last]])


def _folded(row, coefficients):
    """The sum of words times coefficients in GF(2^128), x^128 = x^7 + x^2 + x + 1."""
    total = 0
    for word, (low, high) in zip(row.tolist(), coefficients.tolist(), strict=True):
        for i in range(64):
            total ^= (low | high << 64) << i if word >> i & 1 else 0
    for i in range(191, 127, -1):
        total ^= (1 << i | 0x87 << i - 128) if total >> i & 1 else 0
    return np.array([total & 2**64 - 1, total >> 64], U64)


def _packed(values, bits):
    """A stream of bits: number i at bits i * bits and up, 64 bits a word."""
    one = (values[:, None] >> np.arange(bits, dtype=U64)) & U64(1)
    return pack_bits(one.ravel(), bits=1)[0]


def _unpacked(words, bits, n):
    one = unpack_bits(words[None], n * bits).reshape(n, bits)
    return (one << np.arange(bits, dtype=U64)).sum(1, dtype=U64)
