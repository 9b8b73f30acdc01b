"""The table of lowerings, collected from the families, and the entry that uses it."""

from __future__ import annotations

from torch import fx

from ...graph.several import Batch
from ..program.program import Program
from . import (
    activation,
    arithmetic,
    assigned,
    attention,
    convolution,
    join,
    linear,
    masked,
    matmul,
    moves,
    multihead,
    norm,
    parts,
    pooling,
    ranged,
    reduce,
    resample,
    shape,
    transposed,
    unfold,
)
from .fold import fold_affine
from .lowering import Lowering, Table

FAMILIES = (
    activation, arithmetic, assigned, attention, convolution, join, linear, masked, matmul, moves, multihead, norm,
    parts, pooling, ranged, reduce, resample, shape, transposed, unfold,
)  # fmt: skip

TABLE: Table = {
    spelling: function
    for family in FAMILIES
    for function in vars(family).values()
    for spelling in getattr(function, "spellings", ())
}


def lower(gm: fx.GraphModule, x: Batch) -> Program:
    """Lower a graph in eval mode; ``x`` is a batch that it runs on.

    Raises:
        CompileError: lists every node that cannot be lowered.
    """
    return fold_affine(Lowering(gm, x, TABLE).run())
