"""What a maker of two has for an operation that has masked wires."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ....text import brief
from ...plan.plan import Step


class Making(NamedTuple):
    """One operation.

    Attributes:
        transfers: ``(step, batch)``: oblivious transfers in either direction.
        make: ``(step, batch, half, transfers, party, stream)``: the protocol that returns a party's shares, by the names of
            correlations/layout.py. half: (N, elements on the wires), s at the server, B at the client. stream: an array of
            random elements of a ring, :data:`~.random.Draw`.
    """

    transfers: Callable[[Step, int], int]
    make: Callable

    def __repr__(self) -> str:
        return brief(self)
