"""What a maker of two has for an operation that has masked wires."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ....text import brief
from ...correlations.prepared import Shares
from ...plan.plan import Step
from .turns import Protocol, Words


class Encrypted(NamedTuple):
    """What an operation multiplies under encryption, beside maps.

    Attributes:
        products: ``(step, batch)``: of polynomials, as :func:`~.maps.products` counts them.
        held: ``(step, batch)``: bytes of messages at once, at a party.
    """

    products: Callable[[Step, int], int]
    held: Callable[[Step, int], int]

    def __repr__(self) -> str:
        return brief(self)


class Making(NamedTuple):
    """One operation.

    Attributes:
        transfers: ``(step, batch)``: oblivious transfers in either direction.
        words: ``(step, batch)``: what is said, turn by turn, declared.
        make: ``(step, batch, half, transfers, party, index, stream)``: the protocol that returns a party's
            shares, by the names of correlations/layout.py. half: (N, elements on the wires), s at the server, B at the
            client. index: of the step. stream: of the party's own seed, for what is its own to draw. Behind them the
            party's key of encrypted maps, where something is ``encrypted``.
        encrypted: None: nothing.
    """

    transfers: Callable[[Step, int], int]
    words: Callable[[Step, int], Words]
    make: Callable[..., Protocol[Shares]]
    encrypted: Encrypted | None = None

    def __repr__(self) -> str:
        return brief(self)
