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
from ....text import brief
from . import carry
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
        masks, products: XOR shares of what each level of the carry tree is opened with (carry.py).
        u_bits, u, ur: a random bit, as an XOR share; it, and its product with r, as arithmetic shares.
    """

    r: Tensor
    planes: Tensor
    masks: list[Tensor]
    products: list[Tensor]
    u_bits: Tensor
    u: Tensor
    ur: Tensor

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True)
class Compare:
    """For the ReLUs of ``n`` values whose low ``bits`` bits tell their sign."""

    n: int
    bits: int

    def server(self, draw: Draw, planes: Tensor, u: Tensor, ur: Tensor, *products: Tensor) -> Comparison:
        r, u_bits, masks = self._masks(draw)
        return Comparison(r, planes, masks, list(products), u_bits, u, ur)

    def client(self, draw: Draw) -> Comparison:
        r, u_bits, masks = self._masks(draw)
        planes, u, ur, *products = map(draw, self.dealt())
        return Comparison(r, planes, masks, products, u_bits, u, ur)

    def deal(self, server: Draw, client: Draw, factors: Mapping[str, Factor]) -> list[Tensor]:
        theirs = self.client(client)
        r, u_bits, masks = self._masks(server)
        r += theirs.r
        u_bits ^= theirs.u_bits
        planes, u, ur = theirs.planes, theirs.u, theirs.ur
        planes ^= signed(kernels.pack_bits(r, bits=self.bits))
        nothing = np.zeros(self.n, np.uint32)  # no bits are cut off here
        kernels.deal_select_(r, u_bits, shift=0, u=u.numpy(), ua=ur.numpy(), ub=nothing)
        for mine, other, products in zip(masks, theirs.masks, theirs.products):
            products ^= torch.from_numpy(carry.products((mine ^ other).numpy()))
        return [planes, u, ur, *theirs.products]

    def dealt(self) -> list[Shape]:
        rows = [(len(carry.PRODUCTS), groups, self.words) for groups in self.levels]
        return [(self.bits, self.words), (self.n,), (self.n,), *rows]

    @property
    def words(self) -> int:
        return (self.n + 63) // 64

    @property
    def levels(self) -> list[int]:
        """Groups of every level of the carry tree."""
        return carry.groups(self.bits - 1)

    def _masks(self, draw: Draw) -> tuple[Tensor, Tensor, list[Tensor]]:
        masks = [draw((len(carry.OPERANDS), groups, self.words)) for groups in self.levels]
        return draw((self.n,)), draw((self.words,)), masks


Correlation = Product | Square | Multiply | Compare
KINDS = {kind.__name__: kind for kind in (Product, Square, Multiply, Compare)}


def split(correlation: Correlation, flat: Tensor) -> list[Tensor]:
    """The dealt tensors of one correlation, from their elements in a row."""
    shapes = correlation.dealt()
    return [part.view(shape) for part, shape in zip(flat.split([prod(s) for s in shapes]), shapes)]
