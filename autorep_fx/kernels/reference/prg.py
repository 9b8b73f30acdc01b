"""AES-128 and counter-mode streams."""

from __future__ import annotations

import numpy as np

from ..masked import U64


def _sbox():
    """The S-box of FIPS-197: inverse in GF(2^8), then an affine map."""
    exp = [1]
    for _ in range(254):  # powers of the generator 3
        x = exp[-1]
        exp.append(x ^ (x << 1 & 0xFF) ^ (0x1B if x & 0x80 else 0))
    log = {v: i for i, v in enumerate(exp)}
    table = np.zeros(256, np.uint8)
    for v in range(256):
        inv = exp[-log[v] % 255] if v else 0
        bits = inv ^ 0x63
        for turn in range(1, 5):
            bits ^= (inv << turn | inv >> (8 - turn)) & 0xFF
        table[v] = bits
    return table


_SBOX = _sbox()
_SHIFT_ROWS = np.array([(i + 4 * (i % 4)) % 16 for i in range(16)])


def _round_keys(key):
    words = [np.frombuffer(key, np.uint8)[i : i + 4] for i in range(0, 16, 4)]
    rcon = 1
    for i in range(4, 44):
        w = words[-1]
        if i % 4 == 0:
            w = _SBOX[np.roll(w, -1)] ^ np.array([rcon, 0, 0, 0], np.uint8)
            rcon = rcon << 1 ^ (0x11B if rcon & 0x80 else 0)
        words.append(words[i - 4] ^ w)
    return np.concatenate(words).reshape(11, 16)


def aes(key, blocks):
    """AES-128 (FIPS-197) of `blocks`, uint64 of shape (..., 2), low word first."""
    keys = _round_keys(key)
    state = np.ascontiguousarray(blocks, U64).view(np.uint8) ^ keys[0]
    for r in range(1, 11):
        state = _SBOX[state][..., _SHIFT_ROWS]
        if r < 10:
            a = state.reshape(*state.shape[:-1], 4, 4)
            x = a ^ np.roll(a, -1, axis=-1)
            doubled = x << 1 ^ np.where(x & 0x80, 0x1B, 0).astype(np.uint8)
            state = (a ^ np.bitwise_xor.reduce(a, axis=-1, keepdims=True) ^ doubled).reshape(state.shape)
        state = state ^ keys[r]
    return np.ascontiguousarray(state).view(U64)


def prg_words(seed, purpose, shape):
    n = int(np.prod(shape))
    counters = np.arange((n + 1) // 2, dtype=U64)
    words = aes(seed, np.stack([counters, np.full_like(counters, purpose)], -1)).ravel()
    return words[:n].reshape(shape)


def weigh(seed, purpose, values):
    return (prg_words(seed, purpose, values.shape[1]) * values.view(U64)).sum(1, dtype=U64)


def tag_words(values, factor, seed, purpose):
    return U64(factor) * values.view(U64) + prg_words(seed, purpose, values.shape)
