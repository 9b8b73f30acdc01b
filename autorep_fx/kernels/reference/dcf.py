"""Distributed comparison functions: csrc/compare/dcf.h, line by line."""

from __future__ import annotations

import numpy as np

from ..masked import U64, unsigned
from .prg import aes

_DCF_FORMAT = int.from_bytes(b"afxdcf04", "little")


def _hash(key, seeds, tweak):
    """H_c(s) = AES(z) ^ z, z = sigma(s) ^ c; seeds (n, 2), low word first; tweak a number or one for each seed."""
    z = np.stack([seeds[:, 1] ^ np.asarray(tweak, U64), seeds[:, 0] ^ seeds[:, 1]], -1)
    return aes(key, z) ^ z


def _values(key, seeds, tweak, payloads, ring):
    """The pseudo-random values of a node: what the blocks H_tweak, H_(tweak + 1) hold, in order."""
    each = 16 // ring.itemsize
    words = [_hash(key, seeds, tweak + U64(i)).view(ring) for i in range(-(-payloads // each))]
    return np.concatenate(words, -1)[:, :payloads]


def _leaf_tweak(leaf, payloads, ring):
    """Of the first block of a leaf's values."""
    return U64(8) + U64(2) * leaf if payloads * ring.itemsize <= 32 else U64(16) + U64(4) * leaf


def _control(seeds):
    """Split what G made into seed (lowest bit zero) and control bit."""
    t = seeds[:, 0] & U64(1)
    return seeds ^ np.stack([t, np.zeros_like(t)], -1), t


def _clear(root):
    return _control(np.asarray(root).view(U64))[0]


def _bit(v, i):
    return (v >> U64(i)) & U64(1)


def _dcf_pack(n, bits, payloads, ring, hash_key, left, right, levels, leaves):
    """The layout that csrc/compare/dcf_layout.h describes."""

    def value_rows(v):
        rows = [v[:, :, i : i + 2].reshape(len(v), -1) for i in range(0, payloads - 1, 2)]
        rows += [v[:, :, -1]] if payloads % 2 else []
        return [np.ascontiguousarray(row).view(U64) for row in rows]

    def blocked(a):
        return a.reshape(-1, 16, *a.shape[1:])

    def with_header(body):
        header = [_DCF_FORMAT, bits, payloads, n, 8 + body.size, *np.frombuffer(hash_key, U64), ring.itemsize]
        return np.concatenate([np.array(header, U64), body])

    if n == 0:
        return with_header(np.zeros(0, U64))
    rows = [blocked(left | right << U64(32))] if bits <= 32 else [blocked(left), blocked(right)]
    for seed, value in levels:
        rows += [blocked(seed).reshape(-1, 32), *value_rows(blocked(value))]
    for value in leaves:
        rows += value_rows(blocked(value))
    return with_header(np.concatenate(rows, -1).ravel())


def gen_dcf(alpha, payload, root0, root1, *, bits, hash_key):
    n, payloads = payload.shape
    pad = [(0, -n % 16)]
    alpha = np.pad(alpha.view(U64), pad)
    payload = np.pad(unsigned(payload), [*pad, (0, 0)])
    ring = payload.dtype
    s = [_clear(np.pad(np.asarray(r).view(U64), [*pad, (0, 0)])) for r in (root0, root1)]
    t = [np.zeros_like(alpha), np.ones_like(alpha)]
    due = np.zeros_like(payload)
    left, right, levels, leaves = np.zeros_like(alpha), np.zeros_like(alpha), [], []
    leaf_bits = min(bits, 2)

    def signed(v):  # (-1)^t1
        return np.where(t[1][:, None] == 1, ring.type(0) - v, v)

    for bit in range(bits - 1, leaf_bits - 1, -1):
        go = _bit(alpha, bit)
        child = [[_control(_hash(hash_key, s[p], U64(4 * d))) for d in (0, 1)] for p in (0, 1)]
        value = [[_values(hash_key, s[p], U64(4 * d + 1), payloads, ring) for d in (0, 1)] for p in (0, 1)]
        pick = [np.where(go[:, None] == 1, value[p][1], value[p][0]) for p in (0, 1)]
        lose = [np.where(go[:, None] == 1, value[p][0], value[p][1]) for p in (0, 1)]
        value_cw = signed(lose[1] - lose[0] - due + go.astype(ring)[:, None] * payload)
        due = due + pick[0] - pick[1] + signed(value_cw)
        tl = child[0][0][1] ^ child[1][0][1] ^ go ^ U64(1)
        tr = child[0][1][1] ^ child[1][1][1] ^ go
        left, right = left | tl << U64(bit), right | tr << U64(bit)
        seed_cw = np.where(go[:, None] == 1, child[0][0][0] ^ child[1][0][0], child[0][1][0] ^ child[1][1][0])
        levels.append((seed_cw, value_cw))
        for p in (0, 1):
            seed = np.where(go[:, None] == 1, child[p][1][0], child[p][0][0])
            control = np.where(go == 1, child[p][1][1], child[p][0][1])
            s[p] = seed ^ t[p][:, None] * seed_cw
            t[p] = control ^ t[p] & np.where(go == 1, tr, tl)
    for j in range(1 << leaf_bits):
        below = (U64(j) < (alpha & U64((1 << leaf_bits) - 1))).astype(ring)
        v = [_values(hash_key, s[p], _leaf_tweak(U64(j), payloads, ring), payloads, ring) for p in (0, 1)]
        leaves.append(signed(v[1] - v[0] - due + below[:, None] * payload))
    return _dcf_pack(n, bits, payloads, ring, hash_key, left, right, levels, leaves)


def eval_dcf(key, root, x, *, party):
    bits, payloads, n = (int(v) for v in key[1:4])
    hash_key, ring = key[5:7].tobytes(), np.dtype(f"u{int(key[7])}")
    leaf_bits = min(bits, 2)
    s, t = _clear(root), np.full(n, party, U64)
    x = x.view(U64)
    if n == 0:
        return np.zeros((0, payloads), ring)
    body = key[8:].reshape(-(-n // 16), -1)
    at = 0

    def take(width):
        nonlocal at
        rows = body[:, at : at + 16 * width].reshape(-1, width)[:n]
        at += 16 * width
        return rows

    def take_values():
        nonlocal at
        found = []
        for width in [2] * (payloads // 2) + [1] * (payloads % 2):
            words = 16 * width * ring.itemsize // 8
            found.append(np.ascontiguousarray(body[:, at : at + words]).view(ring).reshape(-1, width)[:n])
            at += words
        return np.concatenate(found, -1)

    left = take(1)[:, 0]
    right = left >> U64(32) if bits <= 32 else take(1)[:, 0]
    total = np.zeros((n, payloads), ring)
    for bit in range(bits - 1, leaf_bits - 1, -1):
        go = _bit(x, bit)
        seed_cw, value_cw = take(2), take_values()
        total = total + _values(hash_key, s, go * U64(4) + U64(1), payloads, ring)
        total += t.astype(ring)[:, None] * value_cw
        child, control = _control(_hash(hash_key, s, go * U64(4)))
        s = child ^ t[:, None] * seed_cw
        t = control ^ t & np.where(go == 1, _bit(right, bit), _bit(left, bit))
    leaf = x & U64((1 << leaf_bits) - 1)
    total = total + _values(hash_key, s, _leaf_tweak(leaf, payloads, ring), payloads, ring)
    for j in range(1 << leaf_bits):
        total = total + (t * (leaf == j)).astype(ring)[:, None] * take_values()
    return ring.type(0) - total if party else total


def dcf_words(n, *, bits, payloads=3, payload_bits=64):
    levels, value = bits - min(bits, 2), 16 * payloads * payload_bits // 64
    control = 16 if bits <= 32 else 32
    return 8 + -(-n // 16) * (control + levels * (16 * 2 + value) + (1 << min(bits, 2)) * value)
