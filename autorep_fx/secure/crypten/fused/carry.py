"""The carry out of a row of bit positions, four at a time, on XOR-shared bit planes.

A node is (g, p): its positions generate a carry, propagate one. Four neighbours, 3 the highest, merge to

    g = g3 ^ p3 g2 ^ p3 p2 g1 ^ p3 p2 p1 g0,    p = p3 p2 p1 p0

with one opening. Each of the seven operands y that is a factor somewhere is opened under a mask, ``d = y ^ a``. A
product of y's is the sum, over all ways to split its factors in two, of the product of the d's of one part with that of
the masks of the other; the dealer shares the products of masks. Against merging two at a time (kernels.carry_open) this
takes half the rounds, 7 opened bits where that takes 9, and 22 dealt bits where that takes 6.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

#: Operands that are opened, by row.
_P3, _P2, _P1, _G2, _G1, _G0, _P0 = OPERANDS = range(7)
_GENERATE = ((_P3, _G2), (_P3, _P2, _G1), (_P3, _P2, _P1, _G0))
_PROPAGATE = ((_P3, _P2, _P1, _P0),)


def _parts(term: tuple[int, ...], smallest: int) -> list[tuple[int, ...]]:
    return [part for size in range(smallest, len(term) + 1) for part in combinations(term, size)]


#: Products of masks that the dealer shares.
PRODUCTS = sorted({part for term in (*_GENERATE, *_PROPAGATE) for part in _parts(term, 2)}, key=lambda s: (len(s), s))


def _expansion(terms: tuple[tuple[int, ...], ...]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Product of masks -> the products of d's that it is multiplied by."""
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for term in terms:
        for part in _parts(term, 0):
            found.setdefault(part, []).append(tuple(y for y in term if y not in part))
    return found


_EXPANSIONS = _expansion(_GENERATE), _expansion(_PROPAGATE)


def groups(nodes: int) -> list[int]:
    """How many groups each level of the tree has."""
    counts = []
    while nodes > 1:
        nodes = (nodes + 3) // 4
        counts.append(nodes)
    return counts


def products(masks: np.ndarray) -> np.ndarray:
    """The dealer's part: of masks (7, groups, words) the products, (22, groups, words)."""
    found = _Products(masks)
    return np.stack([found[part] for part in PRODUCTS])


def operands(g: np.ndarray, p: np.ndarray, first: bool) -> tuple[np.ndarray, np.ndarray]:
    """What a level opens (before masking), (7, groups, words), and g3 of every group.

    A last group that is not full gets nodes that pass a carry on.
    """
    missing = -len(g) % 4
    if missing:
        row = np.zeros((missing, g.shape[1]), g.dtype)
        g, p = np.concatenate([g, row]), np.concatenate([p, ~row if first else row])
    g, p = (x.reshape(-1, 4, x.shape[1]) for x in (g, p))
    return np.stack([p[:, 3], p[:, 2], p[:, 1], g[:, 2], g[:, 1], g[:, 0], p[:, 0]]), g[:, 3]


def merge(
    g3: np.ndarray, opened: np.ndarray, masks: np.ndarray, shared: np.ndarray, first: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The next level's (g, p), from the opened operands and this party's share of the masks and their products."""
    d, known = _Products(opened), dict(zip(PRODUCTS, shared))
    known.update({(y,): masks[y] for y in OPERANDS})
    results = []
    for start, expansion in zip((g3, np.zeros_like(g3)), _EXPANSIONS):
        total = start.copy()
        for part, factors in expansion.items():
            factor = d[factors[0]]
            for other in factors[1:]:
                factor = factor ^ d[other]
            if part:
                total ^= factor & known[part]
            elif first:
                total ^= factor
        results.append(total)
    return results[0], results[1]


class _Products(dict):
    """Products of rows, each computed once."""

    def __init__(self, rows: np.ndarray):
        super().__init__({(y,): row for y, row in enumerate(rows)})
        self[()] = ~np.zeros_like(rows[0])

    def __missing__(self, part: tuple[int, ...]) -> np.ndarray:
        self[part] = self[part[:-1]] & self[part[-1:]]
        return self[part]
