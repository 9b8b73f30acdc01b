"""How an activation is computed on its masked wire, in sizes: what is compared, opened and exchanged."""

from __future__ import annotations

import numpy as np

from ..program.kinds import EXACT
from .operation import Arrays
from .plan import Step
from .ring import elements

#: Cells of a table: what a spline's argument may be, a half of its window, in steps of the grid.
CELLS = 64
CELL_BITS = 6

#: As how many comparisons of a tree the tables of a position take, and the tree below their grid.
_TABLE = 2


def compared(step: Step, batch: int) -> int:
    """Comparisons of one kind in a run; ReLU6 takes two at each position, with one key."""
    return batch * len(step.attrs.get("kept", ()))


def keep(step: Step) -> np.ndarray | None:
    """Kept positions for a gather; None for all of them."""
    kept = step.attrs["kept"]
    return None if len(kept) == step.size else kept


def kept_of(step: Step, v: np.ndarray) -> np.ndarray:
    """Of a wire (N, P), or what is shaped like it, the kept positions, flat."""
    positions = keep(step)
    return (v if positions is None else v[:, positions]).reshape(-1)


def points(step: Step) -> tuple[int, ...]:
    """What is taken off a kept position before it is compared, in units of its truncated value."""
    if "knots" in step.attrs:
        return step.attrs["knots"]
    kind = EXACT.get(step.attrs.get("kind"), EXACT["relu"])
    return tuple(round(point) << (step.frac_bits - step.attrs["align"]) for point in kind.points)


def moved(step: Step, m: np.ndarray) -> list[np.ndarray]:
    """Masked values less each of these points."""
    by = [(point << step.attrs["shift"]) % 2 ** step.attrs["wire"] for point in points(step)]
    return [m if point == 0 else m - m.dtype.type(point) for point in by]


def slope(step: Step) -> int | None:
    """Of a kept position below zero, as a whole number with ``align`` fractional bits; None: its kind has none."""
    kind = EXACT.get(step.attrs["kind"])
    return None if kind is None or kind.slope is None else step.attrs["slope"]


def spline_bits(step: Step) -> int:
    """Fractional bits of a spline's coefficients: what its results have beyond twice those of its arguments."""
    return 2 * step.attrs["align"] - step.frac_bits


def bends(step: Step) -> bool:
    """Whether a spline needs the square of what it is of."""
    return bends_of(step.attrs["c2"])


def bends_of(c2: tuple[int, ...]) -> bool:
    return any(c2)


def openings(step: Step, batch: int) -> tuple[int, int]:
    """Shape of what is opened to multiply a spline's coefficients with powers of x."""
    return (2 if bends(step) else 1, compared(step, batch))


def wire_bits(step: Step) -> int:
    """Exponent F of the masked wire."""
    return step.frac_bits - step.attrs.get("align", 0) + step.attrs["shift"]


def exponents(step: Step) -> tuple[int, ...]:
    """Of all masked wires that are truncated."""
    return step.attrs.get("exponents") or ((wire_bits(step),) if "shift" in step.attrs else ())


def truncated_arrays(step: Step, batch: int) -> Arrays:
    """What is shared for a truncated value: alpha and beta of the one wire."""
    whole, ring = (batch, step.wire_size), elements(step.width).type
    # Multiples of 2^(width / 2), of which the high half is enough.
    halved = step.attrs["wire"] == step.width and step.attrs["shift"] <= step.width // 2
    return {"alpha": (whole, ring), "beta": (whole, elements(step.width // 2).type if halved else ring)}


def planes(step: Step, batch: int) -> int:
    """Words of a plane of all comparisons: the positions once for each point, each time in words of their own."""
    return plane_words(compared(step, batch)) * len(points(step))


def by_table(step: Step) -> bool:
    """Whether a spline's knots are looked up."""
    return step.attrs.get("comparison") == "table"


def tree_window(step: Step) -> int:
    """Bits of what the borrow tree compares: the window, or the bits below the grid and one."""
    return step.attrs["grid"] + 1 if by_table(step) else step.attrs["window"]


def tree_words(step: Step, batch: int) -> int:
    """Words of a plane in the tree: of all comparisons, or of the positions, whose low bits all knots share."""
    return plane_words(compared(step, batch)) if by_table(step) else planes(step, batch)


def tree_compared(step: Step, batch: int) -> int:
    """For predictions: how many comparisons of a tree a step takes as long as."""
    n = compared(step, batch)
    return n * _TABLE if by_table(step) else n * len(points(step))


def cell_shift(step: Step) -> int:
    """Where a masked value's cell begins."""
    return step.attrs["shift"] + step.attrs["grid"]


def place(step: Step, knot: int) -> int:
    """The first cell beyond a knot, counted from the lowest."""
    return (knot >> step.attrs["grid"]) + CELLS // 2


def plane_words(n: int) -> int:
    """Words of a plane of n elements."""
    return -(-n // 64)


def levels(window: int) -> list[int]:
    """Nodes at every level of the tree that merges."""
    nodes, found = window - 1, []
    while nodes > 1:
        found.append(nodes)
        nodes -= nodes // 2
    return found


def exchanges(step: Step) -> int:
    """Messages each way between the two of an activation: with gmw one for each level of the tree and one for the
    opening, with tables one more; and one more for a spline."""
    if not len(step.attrs.get("kept", ())):
        return 0
    tree = len(levels(tree_window(step))) + 1 + by_table(step) if step.attrs["comparison"] != "fss" else 0
    return tree + ("knots" in step.attrs)


def masks(window: int) -> int:
    """Planes that are opened in the tree, each under a mask of its own."""
    return sum(3 * (nodes // 2) - 1 for nodes in levels(window))


def products(window: int) -> int:
    """AND gates: planes of products that the dealer shares."""
    return sum(2 * (nodes // 2) - 1 for nodes in levels(window))
