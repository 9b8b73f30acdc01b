"""What a maker of two has for an operation that has masked wires."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ....text import brief
from ...correlations.prepared import Shares
from ...plan.plan import Step
from .turns import Protocol, Words


class Making(NamedTuple):
    """One operation.

    Attributes:
        transfers: ``(step, batch)``: oblivious transfers in either direction.
        words: ``(step, batch)``: what is said, turn by turn, declared.
        make: ``(step, batch, half, transfers, party, index, stream)``: the protocol that returns a party's
            shares, by the names of correlations/layout.py. half: (N, elements on the wires), s at the server, B at the
            client. index: of the step. stream: of the party's own seed, for what is its own to draw.
    """

    transfers: Callable[[Step, int], int]
    words: Callable[[Step, int], Words]
    make: Callable[..., Protocol[Shares]]

    def __repr__(self) -> str:
        return brief(self)
