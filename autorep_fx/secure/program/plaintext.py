"""The program in float64, in the clear: what every private run must agree with."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...graph.activations import Activation
from . import tensor_ops
from .kinds import EXACT
from .program import Program, Step


def execute(program: Program, x: Tensor) -> Tensor:
    """The output for a batch (N, ...), float64."""
    return values(program, x)[program.public.output]


def values(program: Program, x: Tensor) -> dict[str, Tensor]:
    """Every intermediate value, by name."""
    program.check_input(x)
    found = {program.public.input: x.detach().to("cpu", torch.float64)}
    for step in program.steps:
        found[step.name] = OPS[step.op](step, program.secrets(step), *(found[name] for name in step.inputs))
    return found


#: Values that differ by no more than this part of the largest are the same.
_SAME = 1e-6


def off_by(found: Tensor, exact: Tensor) -> float:
    """Largest difference, as a part of how far the values of different samples lie apart.

    Of the largest value, where there is one sample or all have nearly the same values; by itself, where all are zero.
    """
    if not exact.numel():
        return 0.0
    spread, largest = float((exact - exact[0]).abs().max()), float(exact.abs().max())
    off = float((found - exact).abs().max())
    return off / ((spread if spread > _SAME * largest else largest) or 1.0)


def _conv2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    options = (a["stride"], a["padding"], a["dilation"], a["groups"])
    return F.conv2d(x, secrets["weight"], secrets.get("bias"), *options)


def _affine(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    y = x * tensor_ops.channels(secrets["scale"], x.dim())
    return y + tensor_ops.channels(secrets["shift"], x.dim()) if "shift" in secrets else y


def _max_pool2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    return tensor_ops.windows(step, x, float("-inf")).amax(0)


def _hybrid(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = torch.empty_like(flat)
    if len(a["kept"]):
        out[:, a["kept"]] = kept(step, secrets, flat[:, a["kept"]])
    if "lifts" in a:  # of a program that the planner rewrote (planner/fold_squares.py)
        lifts = torch.tensor(a["lifts"])[a["kept"] // a["per_channel"]]
        out[:, a["kept"]] *= 2.0**lifts
    if len(a["replaced"]):
        z, coeffs = flat[:, a["replaced"]], tensor_ops.by_position(step, secrets["coeffs"], "replaced")
        y = coeffs[-1].expand_as(z)
        for c in coeffs[:-1].flip(0):
            y = y * z + c
        out[:, a["replaced"]] = y
    return out.view_as(x)


def kept(step: Step, secrets: dict[str, Tensor], x: Tensor, cut: Callable[[Tensor], Tensor] = lambda y: y) -> Tensor:
    """The activation at the kept positions; ``cut`` sees each product with a number that is no integer."""
    kind = step.attrs["kind"]
    if kind not in EXACT:
        return Activation(kind, **step.attrs["params"])(x)
    return EXACT[kind].plain(x, slope_of(step, secrets), cut)


def slope_of(step: Step, secrets: dict[str, Tensor]) -> float | Tensor:
    """Slope below zero of a hybrid step's kept positions: one for all, or one for each."""
    if "slope" in secrets:
        return tensor_ops.by_position(step, secrets["slope"], "kept")
    return step.attrs.get("slope", 0.0)


#: op -> function of the step, its secrets and the inputs.
OPS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": lambda step, secrets, x: F.linear(x, secrets["weight"], secrets.get("bias")),
    "affine": _affine,
    "add": lambda step, secrets, x, y: x + step.attrs["sign"] * y,
    "mul": lambda step, secrets, x, y: x * y,
    "add_number": lambda step, secrets, x: x + step.attrs["number"],
    "add_private": lambda step, secrets, x: x + secrets["constant"],
    "scale": lambda step, secrets, x: x * step.attrs["factor"],
    "avg_pool2d": lambda step, secrets, x: tensor_ops.sum_pool2d(step, x) / step.attrs["divisor"],
    "mean": lambda step, secrets, x: tensor_ops.sum_over(step, x) / tensor_ops.summed(step, x),
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
    **{op: (lambda step, secrets, *inputs, _move=move: _move(step, *inputs)) for op, move in tensor_ops.MOVES.items()},
}
