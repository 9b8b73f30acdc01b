"""Base oblivious transfers: of two random keys the receiver learns the one that it chooses, by elliptic curves.

1. The sender draws a scalar a and sends A = a G.
2. For transfer i the receiver draws b_i, computes its key's point b_i A, and sends B_i = b_i G + c_i A.
3. The sender's keys are hashes of a B_i and of a B_i - a A; the receiver's is that of b_i A, which is one of them.

B_i is uniform whatever c_i is, so the sender learns nothing, whatever it sent for A (which is checked, and
multiplied, before the receiver says anything). The receiver knows one key: both would take computing a A from G and A
(computational Diffie-Hellman; the hash a random oracle). The hash takes in who talks to whom, A, all B_i and i.
Curve: ed25519's group of prime order, by libsodium. Source: Chou, Orlandi, "The simplest protocol for oblivious
transfer" (LATINCRYPT 2015).
"""

from __future__ import annotations

import hashlib
import os

import nacl.bindings as sodium
import numpy as np
from nacl.exceptions import CryptoError

from .....errors import PartyError

#: Bytes of a point.
POINT = sodium.crypto_core_ed25519_BYTES


def offer() -> tuple[bytes, bytes]:
    """The sender's scalar a, secret, and its point A."""
    a = _scalar()
    return a, sodium.crypto_scalarmult_ed25519_base_noclamp(a)


def choose(offered: bytes, choices: np.ndarray, direction: bytes) -> tuple[np.ndarray, np.ndarray, bytes]:
    """The receiver's points (n, POINT) bytes, its keys (n, 2) words, and the name of this session.

    Args:
        offered: the sender's point.
        choices: (n,) numbers 0 and 1; they steer neither branches nor addresses.
        direction: who talks to whom.

    Raises:
        PartyError: what was offered is no point of the group.
    """
    _check(offered)
    scalars = [_scalar() for _ in choices]
    shared = [_multiply(b, offered) for b in scalars]
    plain = [sodium.crypto_scalarmult_ed25519_base_noclamp(b) for b in scalars]
    moved = [sodium.crypto_core_ed25519_add(offered, point) for point in plain]
    zero, one = _bytes(plain), _bytes(moved)
    chosen = (0 - choices).astype(np.uint8)[:, None]
    points = zero ^ (zero ^ one) & chosen
    session = _session(offered, points, direction)
    return points, _words([_key(session, i, point) for i, point in enumerate(shared)]), session


def both_keys(secret: bytes, offered: bytes, points: np.ndarray, direction: bytes) -> tuple[np.ndarray, bytes]:
    """The sender's keys (n, 2, 2) words, for choice 0 and 1, and the name of this session.

    Raises:
        PartyError: a point is none of the group.
    """
    session, less = _session(offered, points, direction), _multiply(secret, offered)
    keys = []
    for i, point in enumerate(points):
        shared = _multiply(secret, _check(point.tobytes()))
        keys += [_key(session, i, shared), _key(session, i, sodium.crypto_core_ed25519_sub(shared, less))]
    return _words(keys).reshape(-1, 2, 2), session


def _scalar() -> bytes:
    """Uniform modulo the group's order, but for 2^-259."""
    return sodium.crypto_core_ed25519_scalar_reduce(os.urandom(sodium.crypto_core_ed25519_NONREDUCEDSCALARBYTES))


def _check(point: bytes) -> bytes:
    if not sodium.crypto_core_ed25519_is_valid_point(point):
        raise PartyError("the other party sent what is no point of the curve's group, for a base oblivious transfer")
    return point


def _multiply(scalar: bytes, point: bytes) -> bytes:
    try:
        return sodium.crypto_scalarmult_ed25519_noclamp(scalar, point)
    except CryptoError as error:
        raise PartyError("the other party sent a point of no use, for a base oblivious transfer") from error


def _session(offered: bytes, points: np.ndarray, direction: bytes) -> bytes:
    return hashlib.blake2b(offered + points.tobytes(), key=_short(direction), person=b"autorep_fx baseo").digest()


def _key(session: bytes, i: int, point: bytes) -> bytes:
    return hashlib.blake2b(
        point + i.to_bytes(8, "little"), key=session, digest_size=16, person=b"autorep_fx base "
    ).digest()


def _short(name: bytes) -> bytes:
    return hashlib.blake2b(name).digest()


def _bytes(points: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(points), np.uint8).reshape(-1, POINT)


def _words(keys: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)
