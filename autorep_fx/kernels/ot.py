"""Oblivious transfer: strings and bits from correlated blocks. See the package for what is common to all functions.

OT extension leaves its sender with blocks `q` and one `delta`, its receiver with choices `c` and blocks
`t = q ^ c * delta`. Hashed, `q` and `q ^ delta` are two strings of which the receiver knows the one that it chose.

n is a multiple of 64. Blocks are uint64 (n, 2), delta (2,), low word first; a plane is n bits in n / 64 words, bit i of
word j for OT 64 j + i. `index`, 0 to 2**64 - 1, is the running number of the first OT in its session and direction;
`domain`, 0 to 2**64 - 1, tells apart what one OT is used for: an OT gives independent strings in every domain, and no
(index, domain) may be used twice under one delta, but for flipping a choice between making q and its first use.

The hash is TMMO, `H(x; tweak) = p(p(x) ^ tweak) ^ p(x)` with p AES-128 under a fixed, public key and the tweak
(index + i, domain). Source: Guo, Katz, Wang, Yu, "Efficient and secure multiparty computation from fixed-key block
ciphers" (S&P 2020, ePrint 2019/074), section 7.4.
"""

from __future__ import annotations

from . import reference


def ot_bits(blocks, *, index, domain, delta=None):
    """A random bit of each OT: the plane of the lowest bits of `H(block; index + i, domain)`.

    With delta, of `block ^ delta`: the sender has both bits of each OT, the receiver one of them.
    """
    return reference.ot_bits(blocks, index=index, domain=domain, delta=delta)


def ot_send(q, delta, values, *, bits, index, domain):
    """The sender's half of `c * value mod 2**bits`, shared: returns (share, message).

    share = `-H(q) mod 2**bits`; message = `H(q) - H(q ^ delta) + value mod 2**bits`, packed: number i at bits
    `i * bits` and up of n * bits / 64 words. values (n,) and share: 32-bit numbers where bits <= 32, else 64-bit ones;
    bits 1 to 64, what lies above them in values is not looked at.
    """
    return reference.ot_send(q, delta, values, bits=bits, index=index, domain=domain)


def ot_receive(t, choices, message, *, bits, index, domain):
    """The receiver's half: `H(t) + c * message mod 2**bits`, so that both shares sum to `c * value mod 2**bits`.

    choices: a plane. message: as `ot_send` packs it. Returns (n,), of 32 bits where bits <= 32, else 64.
    """
    return reference.ot_receive(t, choices, message, bits=bits, index=index, domain=domain)


def ot_flip_(q, delta, plane):
    """At the sender, make the receiver's choice `c ^ plane`: `q ^= delta` where the plane has 1."""
    reference.ot_flip_(q, delta, plane)
