"""What the dealer prepares for one use: random values that two parties share, and their products.

    op        masks, half of each from either party's seed         dealt: shares of
    map       b (the input's shape), which the client alone has    c = b * A
    square    r                                                    r2 = r**2
    multiply  a, b                                                 c = a * b
    matmul    a, b (the factors' shapes)                           c = a @ b
    compare   r; by XOR u_bits and, for each level of the          u, ur = u * r; by XOR the planes of r's low bits
              carry tree, mask0, ... of what is opened             and product0, ... of the masks (carry.py)

``A`` is the fixed mask of the server's weights (blinded_weights.py); u_bits are random bits, 64 to a word, and u the
same as ring elements. The client's share of what is dealt is from its seed, too, and the server's is sent to it: 8
bytes an element, which is all that goes offline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .... import kernels
from ...correlations import layout
from ...correlations.stream import Stream
from ...plan import linear, wire
from ...plan.plan import Step as Need
from ...plan.ring import U64
from ..roles import CLIENT, SERVER
from . import carry

#: A party's part of one correlation, by name; uint64.
Held = dict[str, np.ndarray]

#: Slots of a party's stream.
_MASKS, _DEALT = range(2)


def masks_layout(need: Need, batch: int, party: int) -> layout.Layout:
    if need.op == "map":
        return _layout(b=(batch, *need.attrs["x"])) if party == CLIENT else {}
    if need.op == "compare":
        n, words, trees = _sizes(need, batch)
        masks = {f"mask{i}": (len(carry.OPERANDS), groups, words) for i, groups in enumerate(trees)}
        return _layout(r=(n,), u_bits=(words,), **masks)
    if need.op == "matmul":
        return _layout(a=(batch, *need.attrs["first"]), b=(batch, *need.attrs["second"]))
    shape = (batch, *need.shape)
    return _layout(r=shape) if need.op == "square" else _layout(a=shape, b=shape)


def dealt_layout(need: Need, batch: int) -> layout.Layout:
    if need.op == "compare":
        n, words, trees = _sizes(need, batch)
        products = {f"product{i}": (len(carry.PRODUCTS), groups, words) for i, groups in enumerate(trees)}
        return _layout(planes=(need.attrs["bits"], words), u=(n,), ur=(n,), **products)
    shape = (batch, *need.shape)
    return _layout(r2=shape) if need.op == "square" else _layout(c=shape)


def held(need: Need, index: int, batch: int, party: int, stream: Stream, dealt: np.ndarray) -> Held:
    """A party's part; ``dealt`` is its share of that, in a row."""
    return {**_masks(need, index, batch, party, stream), **layout.views(dealt, dealt_layout(need, batch))}


def from_seed(need: Need, index: int, batch: int, stream: Stream) -> np.ndarray:
    """The client's share of what is dealt."""
    return stream.words(index, _DEALT, layout.words(dealt_layout(need, batch)))


def deal(need: Need, index: int, batch: int, server: Stream, client: Stream, packed: Mapping[str, Any]) -> np.ndarray:
    """The server's share of what is dealt. packed: the masks ``A`` of all maps."""
    buffer = from_seed(need, index, batch, client)
    shares = layout.views(buffer, dealt_layout(need, batch))  # the client's, which become the server's
    mine, theirs = (_masks(need, index, batch, *who) for who in ((SERVER, server), (CLIENT, client)))
    if need.op == "map":
        c = np.negative(shares["c"], out=shares["c"])
        linear.apply(need, packed[need.name], theirs["b"], add=c, out=c)
    elif need.op == "square":
        np.subtract((mine["r"] + theirs["r"]) ** 2, shares["r2"], out=shares["r2"])
    elif need.op == "multiply":
        np.subtract((mine["a"] + theirs["a"]) * (mine["b"] + theirs["b"]), shares["c"], out=shares["c"])
    elif need.op == "matmul":
        np.subtract((mine["a"] + theirs["a"]) @ (mine["b"] + theirs["b"]), shares["c"], out=shares["c"])
    else:
        _deal_comparisons_(shares, mine, theirs)
    return buffer


def levels(part: Held) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks and products of each level of the carry tree."""
    for i in range(len(carry.groups(len(part["planes"]) - 1))):
        yield part[f"mask{i}"], part[f"product{i}"]


def _deal_comparisons_(shares: Held, mine: Held, theirs: Held) -> None:
    r, u_bits = mine["r"] + theirs["r"], mine["u_bits"] ^ theirs["u_bits"]
    shares["planes"] ^= kernels.pack_bits(r, bits=len(shares["planes"]))
    nothing = np.zeros(len(r), np.uint32)  # no bits are cut off here
    kernels.deal_select_(r, u_bits, shift=0, u=shares["u"], ua=shares["ur"], ub=nothing)
    for (mask, product), (other, _) in zip(levels({**mine, **shares}), levels({**theirs, **shares})):
        product ^= carry.products(mask ^ other)


def _masks(need: Need, index: int, batch: int, party: int, stream: Stream) -> Held:
    found = masks_layout(need, batch, party)
    return layout.views(stream.words(index, _MASKS, layout.words(found)), found)


def _sizes(need: Need, batch: int) -> tuple[int, int, list[int]]:
    """Elements, words of a plane, and the groups of each level of the carry tree."""
    n = batch * need.size
    return n, wire.plane_words(n), carry.groups(need.attrs["bits"] - 1)


def _layout(**shapes: tuple[int, ...]) -> layout.Layout:
    return {name: (shape, U64) for name, shape in shapes.items()}
