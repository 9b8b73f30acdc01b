"""Punctured trees: one party has all leaves of a tree, the other all but one that it chose.

A node's children are a hash of it (Goldreich, Goldwasser, Micali). Who has the root sends, for each level, the sum of
all left and that of all right children, each under one key of a base oblivious transfer; who chose a leaf knows the sum
on the side where it is not, and so all nodes of the level but one.

Whether the sums are right is checked: each leaf is hashed to its seed and a check of 256 bits; the sum of all checks
and the hash of all checks are sent. If sums were made so that different choices give different leaves, the hash fits
those choices alone that were guessed. Source: SoftSpokenOT (Roy, CRYPTO 2022, ePrint 2022/192), its punctured PRF with
a consistency check.

Who lacks leaf x of a tree keeps leaf y at place `y ^ x`: the missing one is at 0, and what is secret about x is in
exchanges under a mask, never in an address. Arrays: (trees, nodes, 2) words.
"""

from __future__ import annotations

import hashlib
import hmac
import os

import numpy as np

from .....errors import PartyError
from ....plan.ring import U64

#: Words of a seed, of a leaf's check, of the hash of all checks.
_SEED, _CHECK, _DIGEST = 2, 4, 4


def message_words(k: int) -> tuple[int, ...]:
    """Words of each array that :func:`plant` says."""
    trees = 128 // k
    return 128 * 2 * _SEED, trees * _CHECK, _DIGEST


def plant(keys: np.ndarray, k: int, session: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
    """128 / k trees of 2**k leaves: the leaves' seeds, and what to say.

    Args:
        keys: (128, 2, 2) words, both keys of each base oblivious transfer; k a tree, from the root down.
        session: the name of the session.
    """
    trees = 128 // k
    nodes, keys = _random((trees, 1, _SEED)), keys.reshape(trees, k, 2, _SEED)
    sums = np.empty_like(keys)
    for level in range(k):
        children = _hashed(nodes, 2 * _SEED, session, b"autorep_fx node ").reshape(trees, -1, 2, _SEED)
        sums[:, level] = np.bitwise_xor.reduce(children, 1)
        nodes = children.reshape(trees, -1, _SEED)
    seeds, checks = _leaves(nodes, session)
    total = np.bitwise_xor.reduce(checks, 1)
    return seeds, [(sums ^ keys).reshape(-1), total.reshape(-1), _digest(checks, session)]


def grow(keys: np.ndarray, delta: np.ndarray, k: int, session: bytes, said: list[np.ndarray]) -> np.ndarray:
    """The same seeds, leaf y of tree t at place `y ^ delta_t`, delta_t being bits k t and up of delta; 0 at place 0.

    Args:
        keys: (128, 2) words; of each base oblivious transfer the key for `1 - bit`, the bits as :func:`path` says.
        said: what the other party's :func:`plant` said.

    Raises:
        PartyError: the sums are not those of the checks.
    """
    trees, bits = 128 // k, _bits(delta).reshape(128 // k, k)
    keys, sums = keys.reshape(trees, k, _SEED), said[0].reshape(trees, k, 2, _SEED)
    nodes = np.zeros((trees, 1, _SEED), U64)
    for level in range(k):
        right = U64(0) - bits[:, k - 1 - level]
        children = _hashed(nodes, 2 * _SEED, session, b"autorep_fx node ").reshape(trees, -1, 2, _SEED)
        children = _exchanged(children, right)  # side 0: where the missing node is
        known = np.bitwise_xor.reduce(children[:, 1:, 1], 1)
        sent = sums[:, level, 1] ^ (sums[:, level, 0] ^ sums[:, level, 1]) & right[:, None]
        children[:, 0, 0] = 0
        children[:, 0, 1] = known ^ sent ^ keys[:, level]
        nodes = children.reshape(trees, -1, _SEED)
    seeds, checks = _leaves(nodes, session)
    seeds[:, 0] = 0
    checks[:, 0] = said[1].reshape(trees, _CHECK) ^ np.bitwise_xor.reduce(checks[:, 1:], 1)
    for b in range(k):  # each leaf back to its own place
        pairs = checks.reshape(trees, -1, 2, 1 << b, _CHECK)
        checks = _exchanged(pairs, U64(0) - bits[:, b]).reshape(trees, -1, _CHECK)
    if not hmac.compare_digest(_digest(checks, session).tobytes(), said[2].tobytes()):
        raise PartyError("the other party sent sums of a punctured tree that do not fit together")
    return seeds


def path(delta: np.ndarray, k: int) -> np.ndarray:
    """The bits (128,) of which each base oblivious transfer is told the opposite: of each tree from the root down."""
    return _bits(delta).reshape(-1, k)[:, ::-1].reshape(-1)


def _bits(delta: np.ndarray) -> np.ndarray:
    return (delta[:, None] >> np.arange(64, dtype=U64) & U64(1)).reshape(-1)


def _exchanged(pairs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(trees, nodes, 2, ...): both of each pair exchanged in the trees whose mask (trees,) is all ones."""
    difference = (pairs[:, :, 0] ^ pairs[:, :, 1]) & mask.reshape(-1, *[1] * (pairs.ndim - 2))
    return np.stack([pairs[:, :, 0] ^ difference, pairs[:, :, 1] ^ difference], 2)


def _leaves(nodes: np.ndarray, session: bytes) -> tuple[np.ndarray, np.ndarray]:
    both = _hashed(nodes, _SEED + _CHECK, session, b"autorep_fx leaf ")
    return np.ascontiguousarray(both[..., :_SEED]), np.ascontiguousarray(both[..., _SEED:])


def _hashed(nodes: np.ndarray, words: int, session: bytes, person: bytes) -> np.ndarray:
    data = np.ascontiguousarray(nodes).tobytes()
    hashes = (
        hashlib.blake2b(data[i : i + 8 * _SEED], digest_size=8 * words, key=session, person=person).digest()
        for i in range(0, len(data), 8 * _SEED)
    )
    return np.frombuffer(b"".join(hashes), U64).reshape(*nodes.shape[:-1], words)


def _digest(checks: np.ndarray, session: bytes) -> np.ndarray:
    data = np.ascontiguousarray(checks).tobytes()
    return np.frombuffer(hashlib.blake2b(data, digest_size=8 * _DIGEST, key=session).digest(), U64)


def _random(shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(os.urandom(8 * int(np.prod(shape))), U64).reshape(shape)
