"""Whose seed each number of a dealt inference comes from, and under which name.

Every party's half comes from seeds as far as it can. Dealer and client share a seed of 16 bytes, dealer and server
another, and one for ``A``; the dealer has one of its own for what is public.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Slots of the client's seed: the blinding B of a wire; t of a map; the client's shares; roots of comparison keys;
#: masks of AND triples, and of a spline's opening. Slots of the server's seed: the mask s of a wire; A, once per model;
#: the others as the client's.
#: In a checked plan the client has one slot for all that it holds of a step; the server one for the local part of its
#: tags, one for the key of an inference, and one for U of a map that no other reads.
#: Slot of the dealer's own seed: the public AES key of a step's comparison keys.
BLIND, T_MASK, SHARES, ROOT, TRIPLE, OPENING = range(6)
WIRE_MASK, WEIGHT_MASK = 0, 1
HELD, LOCAL, CHECK_KEY, DRAWN_U = 6, 6, 7, 8
HASH_KEY = 0


@dataclass(frozen=True)
class Seeds:
    """What all numbers of a session come from; only the dealer knows all three."""

    client: bytes = field(repr=False)
    server: bytes = field(repr=False)
    dealer: bytes = field(repr=False)
