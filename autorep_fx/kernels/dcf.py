"""Distributed comparison functions. See the package for what is common to all functions."""

from __future__ import annotations

from .extension import load


def gen_dcf(alpha, payload, root0, root1, *, bits, hash_key):
    """Keys of distributed comparison functions: shares of `payload * [x < alpha]` at a point chosen later. Dealer.

    alpha: (n,), below `2**bits`. payload: (n, 1 to 3) ring elements, 64 or 32 bits wide, of 64 bits up to 6. root0,
    root1: (n, 2) uniform words, party 0's and party 1's secrets, e.g. `prg_words(seed, purpose, (n, 2))` with a seed
    that the dealer shares with that party, so that roots cost no traffic (127 of the 128 bits count). bits: 1 to 63.
    hash_key: 16 bytes, drawn for this batch and known to nobody before; the key carries it in the clear, so evaluation
    does not ask for it.

    Returns the key, common to both parties: uint64, `dcf_words(n, bits=bits, ...)` long, for three payloads 784 bytes
    an element at 19 bits (532 with payloads of 32 bits; elements are padded to a multiple of 16). Alone it is of no
    use; each party needs its root. As a mask is used once, so is a key: one point for each element.

    Security: the key with one root is indistinguishable from random words for who does not have the other, whatever
    alpha and payload are, if AES under a public key is a correlation-robust hash. Seeds have 127 bits; one AES call is
    a guess at all `n * bits` of a batch at once and, as each batch has its own hash_key, at those of no other. bits, n
    and the number of payloads are public. Keys are the same on every tier. Source: Boyle et al., EUROCRYPT 2021 (ePrint
    2020/1392), figure 1.
    """
    return load().gen_dcf(alpha, payload, root0, root1, hash_key, bits)


def eval_dcf(key, root, x, *, party):
    """This party's additive share of `payload * [x < alpha]`, (n, payloads), as wide as the payload. No communication.

    key: from `gen_dcf`. root: this party's (n, 2) words. x: (n,), the public points, below `2**bits`. party: 0 or 1.
    Which words are read does not depend on x, alpha or the roots. ValueError for a key of another version or length.
    """
    return load().eval_dcf(key, root, x, party)


def dcf_words(n, *, bits, payloads=3, payload_bits=64):
    """Length in 64-bit words of a key for `n` elements."""
    return load().dcf_words(n, bits, payloads, payload_bits)
