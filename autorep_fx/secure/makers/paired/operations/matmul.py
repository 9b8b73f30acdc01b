"""For a matrix product of two private tensors: shares of the product of both masks (parties/operations/matmul.py).

With r_i = s_i - B_i of which the server has s_i and the client B_i,

    r1 r2 = s1 s2 - s1 B2 - B1 s2 + B1 B2

and both terms in the middle are encrypted products: of s1 with B2, and of s2 with B1, transposed (maps/matrices.py). No
transfer. A share is off by two units of the ring at most, those of an untruncated product. What a product takes goes in
pieces of some matrices, or some rows of one, one behind the other: while the server answers one, the client encrypts
the next. A unit of the step is a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .....text import brief
from ....correlations.prepared import Shares
from ....parties.operations.product import factors
from ....plan.plan import Step
from ....plan.ring import narrowed
from .. import making, maps
from ..making import Encrypted, Making
from ..maps import matrices
from ..stock import Transfers
from ..turns import Protocol, Turn, Words

#: Words of both messages of a piece, more or less: 16 MB.
_MOST = 2**21


class Piece(NamedTuple):
    """A part of a term that is multiplied at once.

    Attributes:
        product: of it, a map.
        term: 0: s1 B2, 1: the other one, transposed.
        groups: which matrices.
        results: which rows of the result.
    """

    product: Step
    term: int
    groups: slice
    results: slice

    def __repr__(self) -> str:
        return brief(self)

    @property
    def words(self) -> tuple[int, int]:
        """Of the client's message, and of the server's."""
        return maps.sizes(self.product, 1)


def pieces(step: Step, batch: int) -> list[Piece]:
    """All of both terms, in order."""
    *front, n, k = step.attrs["first"]
    m, groups = step.attrs["second"][-1], batch * int(np.prod(front, dtype=np.int64))
    return [piece for term, (results, columns) in enumerate(((n, m), (m, n)))
            for piece in _pieces(term, groups, results, k, columns, step.width)]  # fmt: skip


def _pieces(term: int, groups: int, results: int, rows: int, columns: int, width: int) -> Iterator[Piece]:
    one = sum(maps.sizes(matrices.product(1, results, rows, columns, width), 1))
    parts = [(g, slice(0, results)) for g in _cut(groups, -(-groups * one // _MOST))]
    if one > _MOST:
        parts = [(g, r) for g, _ in parts for r in _cut(results, -(-one // _MOST))]
    for of_groups, of_results in parts:
        product = matrices.product(_length(of_groups), _length(of_results), rows, columns, width)
        yield Piece(product, term, of_groups, of_results)


def _cut(size: int, parts: int) -> list[slice]:
    """In so many parts that are about as long as one another; in fewer, where there are not as many."""
    length = -(-size // min(size, parts))
    return [slice(at, min(at + length, size)) for at in range(0, size, length)]


def _length(part: slice) -> int:
    return part.stop - part.start


def words(step: Step, samples: making.Piece) -> Words:
    up, down = zip(*(piece.words for piece in pieces(step, samples.size)))
    return list(zip((0, *down), (*up, 0)))


def make(
    step: Step, samples: making.Piece, half: np.ndarray, found: Transfers, party: int,
    key: maps.ClientKey | maps.PublicKey,
) -> Protocol[Shares]:  # fmt: skip
    own = narrowed(half[samples.first : samples.last], step.width)
    first, second = factors(step, own)
    total = first @ second
    n, m = total.shape[-2:]
    results = total.reshape(-1, n, m)
    of_terms = (results, results.swapaxes(1, 2))
    first, second = (part.reshape(-1, *part.shape[-2:]) for part in (first, second))
    parts = pieces(step, samples.size)
    # The server's rows are those of results, the client's matrices are what they meet.
    if isinstance(key, maps.PublicKey):
        yield from _answer(parts, (first, second.swapaxes(1, 2)), key, of_terms)
    else:
        yield from _ask(parts, (second, first.swapaxes(1, 2)), key, of_terms)
    r = own if party == 0 else -own
    return {"r": r, "product": results.reshape(samples.size, -1)}


def _ask(
    parts: list[Piece], given: tuple[np.ndarray, ...], key: maps.ClientKey, results: tuple[np.ndarray, ...]
) -> Protocol[None]:
    """The client's side: its shares of all pieces are taken off ``results``, by term."""
    for i in range(len(parts) + 1):
        mine: list[np.ndarray] = []
        if i < len(parts):
            mine = matrices.encrypt(parts[i].product, key, given[parts[i].term][parts[i].groups])
        came = yield Turn(mine, [parts[i - 1].words[1]] if i else [])
        if i:
            piece = parts[i - 1]
            results[piece.term][piece.groups, piece.results] -= matrices.decrypt(piece.product, key, came[0])


def _answer(
    parts: list[Piece], given: tuple[np.ndarray, ...], key: maps.PublicKey, results: tuple[np.ndarray, ...]
) -> Protocol[None]:
    """The server's."""
    mine: list[np.ndarray] = []
    for i in range(len(parts) + 1):
        came = yield Turn(mine, [parts[i].words[0]] if i < len(parts) else [])
        if i < len(parts):
            piece = parts[i]
            rows = given[piece.term][piece.groups, piece.results]
            share, mine = matrices.respond(piece.product, rows, key, came[0])
            results[piece.term][piece.groups, piece.results] -= share


def _joined(step: Step, batch: int, of: list[making.Piece], shares: list[Shares]) -> Shares:
    return {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}


def _products(step: Step, samples: making.Piece) -> int:
    return sum(maps.products(piece.product, 1) for piece in pieces(step, samples.size))


def _held(step: Step, samples: making.Piece) -> int:
    return 8 * max(sum(piece.words) for piece in pieces(step, samples.size))


MAKING = Making(
    lambda step, batch: (batch, 1), lambda step, samples: [], words, make, _joined, Encrypted(_products, _held)
)
