"""For a matrix product of two private tensors: shares of the product of both masks (parties/operations/matmul.py).

With r_i = s_i - B_i of which the server has s_i and the client B_i,

    r1 r2 = s1 s2 - s1 B2 - B1 s2 + B1 B2

and both terms in the middle are encrypted products: of s1 with B2, and of s2 with B1, transposed (maps/matrices.py). No
transfer. A share is off by two units of the ring at most, those of an untruncated product. Messages are of some
matrices, or a part of one, one behind the other: while the server answers one, the client encrypts the next.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .....text import brief
from ....correlations.prepared import Shares
from ....parties.operations.product import factors
from ....plan.plan import Step
from ....plan.ring import matmul, narrowed
from .. import maps
from ..making import Encrypted, Making, Piece
from ..maps import matrices
from ..stock import Transfers
from ..turns import Protocol, Turn, Words

#: Words of a message and its answer, at most: of some matrices, 16 MB; of a part of a larger one, 64 MB, for smaller
#: parts say more in all.
_MOST, _MOST_OF_ONE = 2**21, 2**23


class Part(NamedTuple):
    """A part of a term that is multiplied at once.

    Attributes:
        product: of it, a map.
        term: 0: s1 B2, 1: the other one, transposed.
        groups: which matrices.
        results, columns: which rows and columns of the result.
    """

    product: Step
    term: int
    groups: slice
    results: slice
    columns: slice

    def __repr__(self) -> str:
        return brief(self)

    @property
    def words(self) -> tuple[int, int]:
        """Of the client's message, and of the server's."""
        return maps.sizes(self.product, 1)


def units(step: Step, batch: int) -> tuple[int, int]:
    """Matrices."""
    return batch * math.prod(step.shape[:-2]), 1


def parts(step: Step, piece: Piece) -> list[Part]:
    """All of both terms of some matrices, in order."""
    n, k = step.attrs["first"][-2:]
    m = step.shape[-1]
    return [part for term, (results, columns) in enumerate(((n, m), (m, n)))
            for part in _parts(term, piece.size, results, k, columns, step.width)]  # fmt: skip


def _parts(term: int, groups: int, results: int, rows: int, columns: int, width: int) -> Iterator[Part]:
    one = _words(results, rows, columns, width)
    tile = (results, columns) if one <= _MOST_OF_ONE else _tile(results, rows, columns, width, _MOST_OF_ONE)
    for of_groups in _cut(groups, -(-groups * one // _MOST)):
        for of_results, of_columns in itertools.product(_slices(results, tile[0]), _slices(columns, tile[1])):
            sizes = (_length(part) for part in (of_groups, of_results))
            product = matrices.product(*sizes, rows, _length(of_columns), width)
            yield Part(product, term, of_groups, of_results, of_columns)


@functools.lru_cache(maxsize=4096)
def _tile(results: int, rows: int, columns: int, width: int, most: int) -> tuple[int, int]:
    """Rows and columns of one matrix of results that are made at once, within so many words for both messages.

    For other rows the client's matrix is sent again; for other columns it is not, but polynomials are packed for fewer.
    Those are taken that say least in all; single elements where nothing has room.
    """
    found, least = (1, 1), math.inf
    for of_columns in _lengths(columns):
        for of_results in _lengths(results):
            own = _words(of_results, rows, of_columns, width)
            if own <= most:
                whole = own * -(-results // of_results) * -(-columns // of_columns)
                if whole < least:
                    found, least = (of_results, of_columns), whole
                break  # fewer rows at once say more
    return found


def _words(results: int, rows: int, columns: int, width: int) -> int:
    """Of both messages for one matrix."""
    return sum(maps.sizes(matrices.product(1, results, rows, columns, width), 1))


def _lengths(size: int) -> list[int]:
    """Of parts of a size: in 1, 2, 3, 4, 8, 16 of them and so on."""
    counts = [1, 2, 3, *(2**i for i in range(2, size.bit_length() + 1))]
    return list(dict.fromkeys(-(-size // count) for count in counts))


def _cut(size: int, parts: int) -> list[slice]:
    """In so many parts that are about as long as one another; in fewer, where there are not as many."""
    return _slices(size, -(-size // min(size, parts)))


def _slices(size: int, length: int) -> list[slice]:
    return [slice(at, min(at + length, size)) for at in range(0, size, length)]


def _length(part: slice) -> int:
    return part.stop - part.start


def words(step: Step, piece: Piece) -> Words:
    up, down = zip(*(part.words for part in parts(step, piece)))
    return list(zip((0, *down), (*up, 0)))


def make(
    step: Step, piece: Piece, half: np.ndarray, found: Transfers, party: int, key: maps.ClientKey | maps.PublicKey
) -> Protocol[Shares]:
    first, second = (part.reshape(-1, *part.shape[-2:])[piece.first : piece.last]
                     for part in factors(step, narrowed(half, step.width)))  # fmt: skip
    results = matmul(first, second)
    of_terms, asked = (results, results.swapaxes(1, 2)), parts(step, piece)
    # The server's rows are those of results, the client's matrices are what they meet.
    if isinstance(key, maps.PublicKey):
        yield from _answer(asked, (first, second.swapaxes(1, 2)), key, of_terms)
    else:
        yield from _ask(asked, (second, first.swapaxes(1, 2)), key, of_terms)
    masks = (first, second) if party == 0 else (-first, -second)
    return {"r0": masks[0], "r1": masks[1], "product": results}


def joined(step: Step, batch: int, pieces: list[Piece], shares: list[Shares]) -> Shares:
    first, second, product = (np.concatenate([share[name] for share in shares]).reshape(batch, -1)
                              for name in ("r0", "r1", "product"))  # fmt: skip
    return {"r": np.concatenate([first, second], 1), "product": product}


def _ask(
    asked: list[Part], given: tuple[np.ndarray, ...], key: maps.ClientKey, results: tuple[np.ndarray, ...]
) -> Protocol[None]:
    """The client's side: its shares of all parts are taken off ``results``, by term."""
    for i in range(len(asked) + 1):
        mine: list[np.ndarray] = []
        if i < len(asked):
            mine = matrices.encrypt(asked[i].product, key, given[asked[i].term][asked[i].groups, :, asked[i].columns])
        came = yield Turn(mine, [asked[i - 1].words[1]] if i else [])
        if i:
            part = asked[i - 1]
            results[part.term][part.groups, part.results, part.columns] -= matrices.decrypt(part.product, key, came[0])


def _answer(
    asked: list[Part], given: tuple[np.ndarray, ...], key: maps.PublicKey, results: tuple[np.ndarray, ...]
) -> Protocol[None]:
    """The server's."""
    mine: list[np.ndarray] = []
    for i in range(len(asked) + 1):
        came = yield Turn(mine, [asked[i].words[0]] if i < len(asked) else [])
        if i < len(asked):
            part = asked[i]
            rows = given[part.term][part.groups, part.results]
            share, mine = matrices.respond(part.product, rows, key, came[0])
            results[part.term][part.groups, part.results, part.columns] -= share


def _products(step: Step, piece: Piece) -> int:
    return sum(maps.products(part.product, 1) for part in parts(step, piece))


def _held(step: Step, piece: Piece) -> int:
    return 8 * max(sum(part.words) for part in parts(step, piece))


MAKING = Making(units, lambda step, piece: [], words, make, joined, Encrypted(_products, _held))
