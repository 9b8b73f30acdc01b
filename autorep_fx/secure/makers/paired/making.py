"""What a maker of two has for an operation that has masked wires."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ....text import brief
from ...correlations.prepared import Shares
from ...plan.plan import Step
from .stock import Need
from .turns import Protocol, Words


class Piece(NamedTuple):
    """A part of a step's work: units ``first`` to ``last - 1`` of all samples', an operation says of what."""

    first: int
    last: int

    def __repr__(self) -> str:
        return brief(self)

    @property
    def size(self) -> int:
        return self.last - self.first


class Encrypted(NamedTuple):
    """What an operation multiplies under encryption, beside maps.

    Attributes:
        products: ``(step, piece)``: of polynomials, as :func:`~.maps.products` counts them.
        held: ``(step, piece)``: bytes of messages at once, at a party.
    """

    products: Callable[[Step, Piece], int]
    held: Callable[[Step, Piece], int]

    def __repr__(self) -> str:
        return brief(self)


class Making(NamedTuple):
    """One operation.

    Attributes:
        units: ``(step, batch)``: in how many parts a step may be made, one by one, and by how many these are cut.
        needs: ``(step, piece)``: oblivious transfers, in the order in which they are taken.
        words: ``(step, piece)``: what is said, turn by turn, declared.
        make: ``(step, piece, half, transfers, party)``: the protocol that returns a party's shares of a piece. half:
            (N, elements on the wires), s at the server, B at the client. Behind them the party's key of encrypted maps,
            where something is ``encrypted``.
        joined: ``(step, batch, pieces, shares)``: shares of the step, by the names of correlations/layout.py, of those
            of all of its pieces.
        encrypted: None: nothing.
    """

    units: Callable[[Step, int], tuple[int, int]]
    needs: Callable[[Step, Piece], list[Need]]
    words: Callable[[Step, Piece], Words]
    make: Callable[..., Protocol[Shares]]
    joined: Callable[[Step, int, list[Piece], list[Shares]], Shares]
    encrypted: Encrypted | None = None

    def __repr__(self) -> str:
        return brief(self)

    def kept_bytes(self, step: Step, piece: Piece) -> int:
        """Of transfers, and of what is encrypted, at a party, while a piece is made."""
        of_messages = self.encrypted.held(step, piece) if self.encrypted else 0
        return of_messages + sum(need.kept_bytes for need in self.needs(step, piece))

    def pieces(self, step: Step, batch: int, most: int) -> Iterator[Piece]:
        """A step in pieces that keep ``most`` bytes each, or cannot be cut."""
        count, unit = self.units(step, batch)
        left = [Piece(0, count)]
        while left:
            piece = left.pop()
            if piece.size <= unit or self.kept_bytes(step, piece) <= most:
                yield piece
                continue
            middle = piece.first + -(-piece.size // (2 * unit)) * unit
            left += [Piece(middle, piece.last), Piece(piece.first, middle)]
