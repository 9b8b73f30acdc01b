"""NumPy versions of the compiled kernels: the same signatures, the same results bit for bit, written to be read.

They are what the kernels are tested against, and say in a few lines what each one computes. They are slow, and neither
check their arguments nor keep secrets from the timing.
"""

from __future__ import annotations

import dataclasses

import numpy as np

U64 = np.uint64


def beaver_square(epsilon, r, r2, offset=None, *, frac_bits, party, out=None):
    epsilon = np.asarray(epsilon)
    e, r, r2 = (np.asarray(a).view(U64) for a in (epsilon, r, r2))
    v = r2 + U64(2) * e * r
    if party == 0:
        v = v + e * e
    s = v.view(np.int64)
    low = np.int64((1 << frac_bits) - 1)
    q = ((s + np.where(s < 0, low, np.int64(0))) >> np.int64(frac_bits)).view(U64)
    if offset is not None:
        q = q + np.asarray(offset).view(U64)
    return _deliver(q.view(epsilon.dtype), out)


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
FIXED_KEY = bytes.fromhex("243f6a8885a308d313198a2e03707344")


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


def prg_words(seed, purpose, shape, offset=0, *, out=None):
    n = int(np.prod(shape))
    first = offset // 2
    counters = np.arange(first, (offset + n + 1) // 2 + 1, dtype=U64)
    words = aes(seed, np.stack([counters, np.full_like(counters, purpose)], -1)).ravel()
    return _deliver(words[offset - 2 * first :][:n].reshape(shape), out)


def prg_add(a, seed, purpose, offset=0, *, out=None):
    return _deliver((a.view(U64) + prg_words(seed, purpose, a.shape, offset)).view(a.dtype), out)


def prg_sub(a, seed, purpose, offset=0, *, out=None):
    return _deliver((a.view(U64) - prg_words(seed, purpose, a.shape, offset)).view(a.dtype), out)


def prg_xor(a, seed, purpose, offset=0, *, out=None):
    return _deliver((a.view(U64) ^ prg_words(seed, purpose, a.shape, offset)).view(a.dtype), out)


@dataclasses.dataclass(frozen=True)
class PackedWeight:
    weight: np.ndarray
    groups: int


def pack_weight(weight, *, groups=1, weight_bits=64):
    return PackedWeight(np.asarray(weight), groups)


def conv2d(x, weight, *, stride=1, padding=0, dilation=1, bias=None, add=None, out=None):
    w, groups = weight.weight.view(f"u{x.itemsize}"), weight.groups
    (sh, sw), (ph, pw), (dh, dw) = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding, dilation))
    outputs, per_group, kh, kw = w.shape
    p = np.pad(x.view(w.dtype), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh, ow = ((p.shape[2] - dh * (kh - 1) - 1) // sh + 1, (p.shape[3] - dw * (kw - 1) - 1) // sw + 1)
    y = np.zeros((x.shape[0], outputs, oh, ow), w.dtype)
    step = outputs // groups
    for g in range(groups):
        mine, channels = slice(g * step, (g + 1) * step), slice(g * per_group, (g + 1) * per_group)
        for ky in range(kh):
            for kx in range(kw):
                window = p[:, channels, ky * dh : ky * dh + sh * (oh - 1) + 1 : sh]
                window = window[..., kx * dw : kx * dw + sw * (ow - 1) + 1 : sw]
                y[:, mine] += np.einsum("oc,nchw->nohw", w[mine, :, ky, kx], window)
    if bias is not None:
        y += bias.view(w.dtype)[:, None, None]
    if add is not None:
        y += add.view(w.dtype)
    return _deliver(y.view(x.dtype), out)


def linear(x, weight, *, bias=None, add=None, out=None):
    y = x.view(f"u{x.itemsize}") @ weight.weight.view(f"u{x.itemsize}").T
    for extra in (bias, add):
        if extra is not None:
            y = y + extra.view(y.dtype)
    return _deliver(y.view(x.dtype), out)


def matmul(a, b, *, add=None, out=None):
    return linear(a, pack_weight(np.ascontiguousarray(b.T)), add=add, out=out)


_DCF_FORMAT = int.from_bytes(b"afxdcf01", "little")


def _hash(seeds, tweak):
    """H_c(s) = AES(z) ^ z, z = sigma(s) ^ c; seeds (n, 2), low word first; tweak a number or one for each seed."""
    z = np.stack([seeds[:, 1] ^ np.asarray(tweak, U64), seeds[:, 0] ^ seeds[:, 1]], -1)
    return aes(FIXED_KEY, z) ^ z


def _values(seeds, tweak, payloads):
    """The pseudo-random values of a node: words of H_tweak, H_(tweak + 1)."""
    words = [_hash(seeds, tweak + U64(i)) for i in range((payloads + 1) // 2)]
    return np.concatenate(words, -1)[:, :payloads]


def _control(seeds):
    """Split what G made into seed (lowest bit zero) and control bit."""
    t = seeds[:, 0] & U64(1)
    return seeds ^ np.stack([t, np.zeros_like(t)], -1), t


def _clear(root):
    return _control(np.asarray(root).view(U64))[0]


def _bit(v, i):
    return (v >> U64(i)) & U64(1)


def _dcf_pack(n, bits, payloads, left, right, levels, leaves):
    """The layout that csrc/compare/dcf_layout.h describes."""

    def value_rows(v):
        rows = [v[:, :, :2].reshape(len(v), -1)] if payloads >= 2 else []
        return rows + ([v[:, :, -1]] if payloads % 2 else [])

    def blocked(a):
        return a.reshape(-1, 16, *a.shape[1:])

    rows = [blocked(left), blocked(right)]
    for seed, value in levels:
        rows += [blocked(seed).reshape(-1, 32), *value_rows(blocked(value))]
    for value in leaves:
        rows += value_rows(blocked(value))
    body = np.concatenate(rows, -1).ravel() if n else np.zeros(0, U64)
    return np.concatenate([np.array([_DCF_FORMAT, bits, payloads, n, 8 + body.size, 0, 0, 0], U64), body])


def gen_dcf(alpha, payload, root0, root1, *, bits, out=None):
    n, payloads = payload.shape
    pad = [(0, -n % 16)]
    alpha = np.pad(alpha.view(U64), pad)
    payload = np.pad(payload.view(U64), [*pad, (0, 0)])
    s = [_clear(np.pad(np.asarray(r).view(U64), [*pad, (0, 0)])) for r in (root0, root1)]
    t = [np.zeros_like(alpha), np.ones_like(alpha)]
    due = np.zeros_like(payload)
    left, right, levels, leaves = np.zeros_like(alpha), np.zeros_like(alpha), [], []
    leaf_bits = min(bits, 2)

    def signed(v):  # (-1)^t1
        return np.where(t[1][:, None] == 1, U64(0) - v, v)

    for bit in range(bits - 1, leaf_bits - 1, -1):
        go = _bit(alpha, bit)
        child = [[_control(_hash(s[p], U64(4 * d))) for d in (0, 1)] for p in (0, 1)]
        value = [[_values(s[p], U64(4 * d + 1), payloads) for d in (0, 1)] for p in (0, 1)]
        pick = [np.where(go[:, None] == 1, value[p][1], value[p][0]) for p in (0, 1)]
        lose = [np.where(go[:, None] == 1, value[p][0], value[p][1]) for p in (0, 1)]
        value_cw = signed(lose[1] - lose[0] - due + go[:, None] * payload)
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
        below = (U64(j) < (alpha & U64((1 << leaf_bits) - 1))).astype(U64)
        v = [_values(s[p], U64(8 + 2 * j), payloads) for p in (0, 1)]
        leaves.append(signed(v[1] - v[0] - due + below[:, None] * payload))
    return _deliver(_dcf_pack(n, bits, payloads, left, right, levels, leaves), out)


def eval_dcf(key, root, x, *, party, out=None):
    bits, payloads, n = (int(v) for v in key[1:4])
    leaf_bits = min(bits, 2)
    s, t = _clear(root), np.full(n, party, U64)
    x = x.view(U64)
    if n == 0:
        return _deliver(np.zeros((0, payloads), U64), out)
    body = key[8:].reshape(-(-n // 16), -1)
    at = 0

    def take(width):
        nonlocal at
        rows = body[:, at : at + 16 * width].reshape(-1, width)[:n]
        at += 16 * width
        return rows

    def take_values():
        pair = [take(2)] if payloads >= 2 else []
        return np.concatenate(pair + ([take(1)] if payloads % 2 else []), -1)

    left, right = take(1)[:, 0], take(1)[:, 0]
    total = np.zeros((n, payloads), U64)
    for bit in range(bits - 1, leaf_bits - 1, -1):
        go = _bit(x, bit)
        seed_cw, value_cw = take(2), take_values()
        total = total + _values(s, go * U64(4) + U64(1), payloads) + t[:, None] * value_cw
        child, control = _control(_hash(s, go * U64(4)))
        s = child ^ t[:, None] * seed_cw
        t = control ^ t & np.where(go == 1, _bit(right, bit), _bit(left, bit))
    leaf = x & U64((1 << leaf_bits) - 1)
    total = total + _values(s, U64(8) + U64(2) * leaf, payloads)
    for j in range(1 << leaf_bits):
        total = total + (t * (leaf == j))[:, None] * take_values()
    return _deliver(U64(0) - total if party else total, out)


def dcf_words(n, *, bits, payloads=3):
    levels = bits - min(bits, 2)
    return 8 + -(-n // 16) * 16 * (2 + levels * (2 + payloads) + (1 << min(bits, 2)) * payloads)


def _deliver(result, out):
    """The result, written into `out` where one was given."""
    if out is None:
        return result
    out[...] = result.view(out.dtype)
    return out
