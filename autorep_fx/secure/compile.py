"""From a transformed model to a program that two parties can run."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp

from ..errors import CompileError
from ..graph.calibrate import device_of
from ..graph.fold import FoldBatchNorm
from .lower.inline import InlineLeaves
from .lower.table import lower, module_types
from .plan import ranges as plan_ranges
from .secure_program import SecureProgram

#: Fewer bits leave no precision, more leave no room for a product in 64 bits.
FRAC_BITS = range(8, 25)


def compile(
    gm: fx.GraphModule, example_inputs: Tensor, *, frac_bits: int = 16, ranges: str = "calibrated", margin_bits: int = 2
) -> SecureProgram:
    """Lower a transformed model, in eval semantics, to a :class:`SecureProgram`.

    Args:
        gm: the result of :func:`autorep_fx.transform`; never changed.
        example_inputs: a batch (N, ...) that shows the shapes; the program runs batches of any size.
        frac_bits: fractional bits of the fixed-point numbers on CrypTen, 8 to 24. The native runtime chooses its own.
        ranges: how large values get, which the native runtime needs. "calibrated": what ``example_inputs`` reach, times
            2**margin_bits: a value beyond that gives a wrong answer without notice, so show it typical inputs, some
            dozens. "worst": what nothing within the examples' range times 2**margin_bits can exceed; safe, but it grows
            with every layer and soon leaves no room.
        margin_bits: see ``ranges``; 0 to 16.

    Raises:
        CompileError: the graph holds nodes that two parties cannot run; lists every one and what to do about it.
        ValueError: ``frac_bits`` out of range, or ``example_inputs`` is no batch that the model runs.
        TypeError: ``gm`` is not a GraphModule.
    """
    if not isinstance(gm, fx.GraphModule):
        raise TypeError(f"gm must be the GraphModule that autorep_fx.transform returns, got {type(gm).__name__}")
    if isinstance(frac_bits, bool) or frac_bits not in FRAC_BITS:
        raise ValueError(f"frac_bits must be {FRAC_BITS[0]} to {FRAC_BITS[-1]}, got {frac_bits!r}")
    if ranges not in ("calibrated", "worst"):
        raise ValueError(f"ranges must be 'calibrated' or 'worst', got {ranges!r}")
    if isinstance(margin_bits, bool) or margin_bits not in range(17):
        raise ValueError(f"margin_bits must be 0 to 16, got {margin_bits!r}")
    if isinstance(example_inputs, (tuple, list)) and len(example_inputs) == 1:
        example_inputs = example_inputs[0]
    if not isinstance(example_inputs, Tensor) or example_inputs.dim() < 2 or not example_inputs.is_floating_point():
        raise ValueError("example_inputs must be a floating-point tensor (N, ...), the kind of batch the model runs")
    if len(example_inputs) == 0 or not torch.isfinite(example_inputs).all():
        raise ValueError("example_inputs must hold at least one sample, and no NaN or infinite values")

    gm = copy.deepcopy(gm).eval()
    InlineLeaves(module_types())(gm)
    x = example_inputs.to(device_of(gm))
    try:
        with torch.no_grad():
            ShapeProp(gm).propagate(x)
    except Exception as error:
        raise ValueError(
            f"the model does not run on example_inputs of shape {tuple(x.shape)}: {str(error).splitlines()[0]}"
        ) from error
    program = lower(FoldBatchNorm()(gm), x)
    if not program.steps:
        raise CompileError("the model returns its input; there is nothing to compute")
    if ranges == "worst":
        largest = float(x.abs().max()) * 2.0**margin_bits
        return SecureProgram(program.public, program.server, plan_ranges.worst_case(program, largest), 0, frac_bits)
    return SecureProgram(program.public, program.server, plan_ranges.calibrated(program, x), margin_bits, frac_bits)
