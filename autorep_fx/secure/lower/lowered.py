"""A transformed model, in eval semantics, as a program."""

from __future__ import annotations

from torch import fx

from ...errors import CompileError
from ...graph.attached import attached, attached_to_all
from ...graph.devices import device_of
from ...graph.fold import FoldBatchNorm
from ...graph.modes import EvalPath
from ...graph.settle import SettleWeights
from ...graph.several import Batch
from ...graph.unwrap import private_copy
from ..program.program import Program
from .inside import look_inside
from .shapes import note_shapes
from .spellings import in_one_spelling
from .table import lower


def lowered(gm: fx.GraphModule, example_inputs: Batch) -> Program:
    """The program of a transformed model, in eval semantics, with batch norms folded and computed weights settled."""
    for what in attached(gm, backward=False) + attached_to_all():
        raise CompileError(f"the model itself has {what}")
    gm = SettleWeights()(private_copy(gm, weights=False).eval())
    EvalPath()(gm)
    x = example_inputs[:2].to(device_of(gm))
    note_shapes(gm, x, "example_inputs")
    gm = in_one_spelling(look_inside(gm, x))
    program = lower(FoldBatchNorm()(gm), x)
    if not program.steps:
        raise CompileError("the model returns its input; there is nothing to compute")
    return program
