"""The activation on a masked wire: truncation, polynomial, ReLU by comparison key. See the package for what is common.

A masked wire holds `y` with exponent F as the public `m = y + r`; the parties share `r`; `shift = F - f` low bits go.
Arrays are (batch, positions); `keep` lists the positions that keep their ReLU, the same for every sample of the batch.
The wire's ring is that of `m` (or `r`), w = 64 or 32 bits; the result's is that of the shares, 64 or 32 bits: either
goes with either, as truncation holds over the integers.
"""

from __future__ import annotations

from .extension import load


def activation_step(
    m,
    *,
    shift,
    align,
    party,
    alpha=None,
    beta=None,
    alpha2=None,
    ab=None,
    linear=None,
    relu=None,
    keep=None,
    sub=None,
    out=None,
):
    """This party's share of the hybrid activation, in one pass and without a message.

    1. `x = y >> shift` exactly, up to one unit: `mx - rx`, where `mx` is public and `rx = [alpha] - mu * [beta]`.
    2. Positions not kept: `x^2` with exponent 2f from `[alpha2]`, `[ab]`; where `linear` is True, and everywhere if
       `alpha2` is None: `x * 2**align`.
    3. Kept positions: `relu * 2**align`. (align = f makes all exponents 2f.)
    4. `- sub`: the client passes `sub = B`, the mask of the next blinded wire, and sends the result.

    m: (batch, positions), `|y| < 2**(w - 2)`. shift: 0 to w - 2. align: 0 to 63. party: 0 adds the public terms.
    alpha, beta, alpha2, ab: this party's shares, shaped like m, from the dealer (`deal_powers_`), one party's from its
    seed. beta and ab are as wide as the others, or, where the wire is, too, and shift at most w / 2, both half as wide:
    shares of their high halves, the low ones being zero. alpha and beta may be None where every position is kept.
    linear: bool (positions,) or None. keep: int64 (kept,), increasing; relu: this party's shares, (batch, kept).
    sub: shaped like m, as wide as the shares, or None. out: may be m, if as wide, and nothing else. Entries at kept
    positions are not used.

    Error: below one unit of `2**-f` in x, unbiased; never a wrap. Offline 24 bytes an element to one party (12 without
    squares) with high halves, 32 (16) without, of 64 bits; half of that of 32 bits; 0 online.
    """
    return load().activation_step(m, shift, align, party, alpha, beta, alpha2, ab, linear, relu, keep, sub, out)


def deal_powers_(r, *, shift, alpha, beta, alpha2=None, ab=None):
    """The dealer's half of `activation_step`: in place, one party's shares become the other's.

    alpha = r >> shift, beta = msb(r) * 2**(w - shift), alpha2 = alpha^2, ab = 2 alpha beta - beta^2. Each array holds
    one party's share (from its seed: `prg_words`, viewed as uint32 for the short ones) and is overwritten by the true
    value minus it. All are shaped like r and contiguous; widths as in `activation_step`.
    """
    load().deal_powers_(r, shift, alpha, beta, alpha2, ab)


def window(v, keep=None, *, shift, bits):
    """`(v[:, keep] >> shift) mod 2**bits`: gather and cut out what a comparison looks at. uint64 (batch, kept).

    v: (batch, positions), w bits wide. keep: int64, increasing, or None for all. shift 0 to w - 1, bits 1 to w - shift.
    """
    return load().window(v, keep, shift, bits)


def deal_relu_(r_window, *, bits, shares):
    """The dealer's numbers for `relu_fss`: returns (alpha, payload) for `gen_dcf(..., bits=bits - 1)`.

    r_window: (n,), the mask's window of `bits` bits (2 to 63). shares: (n, 3), one party's shares of (rh, rl, rh * rl)
    from its seed; becomes the other's, and the payload is as wide. rl: the low bits - 1 bits, rh: the top bit.
    """
    return load().deal_relu_(r_window, shares, bits)


def relu_fss(key, root, m_window, shares, *, party):
    """This party's share of `relu(x)`, x the signed value of `bits = key bits + 1` bits with `m_window = x + r_window`.

    1. Evaluate the comparison keys at the low bits `ml` of the public window: shares of `b sigma`, `b sigma r0`, `b`.
    2. Combine them with `[rh], [rl], [rh rl]` and the top bit `mh`, which is public: docs/protocol.md, variant `fss`.

    key, root: from the dealer, three payloads. m_window: (n,) from `window`. shares: (n, 3), this party's part of what
    `deal_relu_` shared, as wide as the key's payload and the result. No message. Exact on windows, so at most one unit
    off in x (the cut-off low bits), as long as `|x| < 2**(bits - 1)`. Source: Boyle et al. (ePrint 2020/1392), section
    4, with one payload of three words instead of a spline's.
    """
    return load().relu_fss(key, root, m_window, shares, party)


def relu_checked(key, root, m_window, shares, tags, *, party, tag_key=0):
    """As `relu_fss`, of a key that carries tags, and once more on tags: (value, tag) of this party, each (n,).

    key: from `gen_dcf`, of six payloads of 64 bits: three, and `tag_key` times each. shares: (n, 3), 64-bit at party 1;
    value is as wide, and may be 32-bit at party 0, for values are modulo 2^32. tags: (n, 3), 64-bit: at party 1 those
    of its shares; at party 0, which has tag_key, the local parts of these, so that
    `tag of party 1 = tag_key * value of party 1 + tag of party 0` of the results as well. tag_key: 0 to 2**64 - 1.
    """
    return load().relu_checked(key, root, m_window, shares, tags, party, tag_key)
