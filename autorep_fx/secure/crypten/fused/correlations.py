"""What the dealer prepares for one use: random values that two parties share, and their products.

The client's part always comes from its seed; the server's comes from its own seed as far as it is random, and the rest,
which depends on both, is *dealt* to it. Each class says what is drawn, in an order that ``server``, ``client`` and
``deal`` have in common:

- ``server(draw, *dealt)``, ``client(draw)``: a party's part;
- ``deal(server, client, factors)``: from both parties' streams, the tensors that the server is sent;
- ``dealt()``: their shapes.

Offline bytes: 8 for each dealt element, dealer to server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .... import kernels
from .streams import signed
from .weights import Factor

Draw = Callable[[tuple[int, ...]], Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """For one product of a shared x with what only the server knows: ``c_0 + c_1 = b * A``.

    ``b``, shaped like x, is known to the client; ``A``, the fixed mask of the weights (weights.py), to the server.
    """

    weight: str
    x: Shape
    y: Shape

    def server(self, draw: Draw, c: Tensor) -> tuple[Tensor, ...]:
        return (c,)

    def client(self, draw: Draw) -> tuple[Tensor, ...]:
        return draw(self.x), draw(self.y)

    def deal(self, server: Draw, client: Draw, factors: Mapping[str, Factor]) -> list[Tensor]:
        b, c = client(self.x), client(self.y)
        return [factors[self.weight](b, add=c.neg_())]

    def dealt(self) -> list[Shape]:
        return [self.y]


@dataclass(frozen=True)
class Square:
    """For one square: ``[r], [r**2]``."""

    x: Shape

    def server(self, draw: Draw, r2: Tensor) -> tuple[Tensor, ...]:
        return draw(self.x), r2

    def client(self, draw: Draw) -> tuple[Tensor, ...]:
        return draw(self.x), draw(self.x)

    def deal(self, server: Draw, client: Draw, factors: Mapping[str, Factor]) -> list[Tensor]:
        r = server(self.x) + client(self.x)
        return [r.square_() - client(self.x)]

    def dealt(self) -> list[Shape]:
        return [self.x]


@dataclass(frozen=True)
class Multiply:
    """For one element-wise product of two shared values: ``[a], [b], [a * b]``."""

    x: Shape

    def server(self, draw: Draw, c: Tensor) -> tuple[Tensor, ...]:
        return draw(self.x), draw(self.x), c

    def client(self, draw: Draw) -> tuple[Tensor, ...]:
        return draw(self.x), draw(self.x), draw(self.x)

    def deal(self, server: Draw, client: Draw, factors: Mapping[str, Factor]) -> list[Tensor]:
        a, b = server(self.x) + client(self.x), server(self.x) + client(self.x)
        return [a.mul_(b) - client(self.x)]

    def dealt(self) -> list[Shape]:
        return [self.x]


class Comparison(NamedTuple):
    """A party's part of :class:`Compare`. Bits are in planes, 64 elements to a word (kernels/bits.py).

    Attributes:
        r: arithmetic share of a random mask.
        planes: XOR shares of its low bits.
        triples: a, b, c of every level of the carry tree.
        u_bits, u, ur: a random bit, as an XOR share; it, and its product with r, as arithmetic shares.
    """

    r: Tensor
    planes: Tensor
    triples: list[tuple[Tensor, Tensor, Tensor]]
    u_bits: Tensor
    u: Tensor
    ur: Tensor


@dataclass(frozen=True)
class Compare:
    """For the ReLUs of ``n`` values whose low ``bits`` bits tell their sign."""

    n: int
    bits: int

    def server(self, draw: Draw, planes: Tensor, c: Tensor, u: Tensor, ur: Tensor) -> Comparison:
        r, (a, b, _), u_bits = draw((self.n,)), self._and_masks(draw), draw((self.words,))
        return Comparison(r, planes, list(self._levels(a, b, c)), u_bits, u, ur)

    def client(self, draw: Draw) -> Comparison:
        r, (a, b, rows), u_bits = draw((self.n,)), self._and_masks(draw), draw((self.words,))
        planes, c = draw((self.bits, self.words)), draw((rows, self.words))
        return Comparison(r, planes, list(self._levels(a, b, c)), u_bits, draw((self.n,)), draw((self.n,)))

    def deal(self, server: Draw, client: Draw, factors: Mapping[str, Factor]) -> list[Tensor]:
        theirs = self.client(client)
        r, (a, b, rows), u_bits = server((self.n,)), self._and_masks(server), server((self.words,))
        r += theirs.r
        planes = signed(kernels.pack_bits(r, bits=self.bits))
        planes ^= theirs.planes
        c = torch.cat([c for _, _, c in theirs.triples])
        for (a0, b0, c0), (a1, b1, _) in zip(self._levels(a, b, c), theirs.triples):
            kernels.deal_and_(a0, b0, a1, b1, c=c0.numpy())
        u_bits ^= theirs.u_bits
        u, ur = theirs.u, theirs.ur
        nothing = np.zeros(self.n, np.uint32)  # no bits are cut off here
        kernels.deal_gmw_(r, u_bits, shift=0, u=u.numpy(), ua=ur.numpy(), ub=nothing)
        return [planes, c, u, ur]

    def dealt(self) -> list[Shape]:
        rows = sum(b[0] for _, b, _, _ in self.levels())
        return [(self.bits, self.words), (rows, self.words), (self.n,), (self.n,)]

    @property
    def words(self) -> int:
        return (self.n + 63) // 64

    def levels(self) -> list[tuple[Shape, ...]]:
        """Shapes of a, b, c and the message of every level of the tree."""
        nodes, shapes = self.bits - 1, []
        while nodes > 1:
            shapes.append(kernels.carry_shapes(nodes, self.words))
            nodes = (nodes + 1) // 2
        return shapes

    def _and_masks(self, draw: Draw) -> tuple[Tensor, Tensor, int]:
        rows = [sum(shape[k][0] for shape in self.levels()) for k in (0, 1)]
        return draw((rows[0], self.words)), draw((rows[1], self.words)), rows[1]

    def _levels(self, a: Tensor, b: Tensor, c: Tensor):
        shapes = self.levels()
        split = [t.split([shape[k][0] for shape in shapes]) for k, t in enumerate((a, b, c))]
        return zip(*split)


Correlation = Product | Square | Multiply | Compare
KINDS = {kind.__name__: kind for kind in (Product, Square, Multiply, Compare)}


def split(correlation: Correlation, flat: Tensor) -> list[Tensor]:
    """The dealt tensors of one correlation, from their elements in a row."""
    shapes = correlation.dealt()
    return [part.view(shape) for part, shape in zip(flat.split([prod(s) for s in shapes]), shapes)]
